//! The binary `tablestore`: starts nodes and talks to them. See `tablestore --help`.

mod cli;
mod demo;
mod loading;
mod terminal;

use std::process::ExitCode;

/// Measured on the write path: a tenth more writes a second than the system's allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    cli::main()
}
