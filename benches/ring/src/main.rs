//! The ring beside other crates for consistent hashing, in one process.
//!
//! Only the ratios count: the absolute times are those of a shared machine. `--quick` takes fewer
//! rounds; `--write` writes the table and the plots of `docs/which-hash.md` anew.

mod algorithms;
mod changes;
mod documents;
mod lookups;
mod memory;
mod movement;
mod peers;
mod plot;
mod timing;

use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use std::alloc::System;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Rounds of the interleaved runs: an odd number, so that the median is one of them.
const ROUNDS: usize = 301;
const ROUNDS_QUICK: usize = 51;
/// Of changes, which take milliseconds.
const CHANGES: usize = 11;
const CHANGES_QUICK: usize = 5;

fn main() -> std::io::Result<()> {
    let asked = |option: &str| std::env::args().any(|argument| argument == option);
    let quick = asked("--quick");
    let (rounds, changes) = if quick {
        (ROUNDS_QUICK, CHANGES_QUICK)
    } else {
        (ROUNDS, CHANGES)
    };
    lookups::owner_by_table(rounds);
    lookups::owner_on_the_ring(rounds);
    lookups::three_zones(rounds);
    changes::build_add_remove(changes);
    memory::per_server(ALLOCATOR);
    movement::between_survivors();
    let table = algorithms::owners(rounds);
    if asked("--write") {
        documents::write(&table)?;
    }
    Ok(())
}
