//! Bytes that stay allocated for each server, and allocations of a lookup.

use std::alloc::System;

use stats_alloc::{Region, StatsAlloc};
use tablestore_ring::{Locate, Point};

use crate::{lookups, peers};

pub fn per_server(allocator: &StatsAlloc<System>) {
    println!("\nbytes a server, 128 tokens");
    for n in [100, 1000, 10_000] {
        let bytes = |region: &Region<'_, System>| {
            let change = region.change();
            (change.bytes_allocated as f64 - change.bytes_deallocated as f64) / n as f64
        };
        let region = Region::new(allocator);
        let ring = lookups::ring(n);
        let ours = bytes(&region);
        let region = Region::new(allocator);
        let peer = peers::hash_ring(n);
        let theirs = bytes(&region);
        drop(peer);
        let ratio = ours / theirs;
        println!("  {n:>6} servers: ours {ours:.0}, hashring {theirs:.0}: {ratio:.2}x");

        let region = Region::new(allocator);
        let mut out = [None; 3];
        for step in 0..1000_u64 {
            ring.locate(Point(step << 54), &mut out);
        }
        let allocations = region.change().allocations;
        println!("  {n:>6} servers: {allocations} allocations in 1000 lookups of three");
    }
}
