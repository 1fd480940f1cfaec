//! The rules that every [`Locate`] must keep, as a suite to run against an implementation.
//!
//! Knows nothing about rings: it asks only through the trait. A broken rule panics and names
//! itself, as an assertion in a test does.

use alloc::collections::BTreeSet;
use alloc::vec;
use core::fmt::Debug;

use crate::{Locate, Point};

/// Checks the contract of [`Locate`] at `points` (its ends are always added), given the number
/// of nodes that are able to serve.
pub fn check<L>(locate: &L, nodes: usize, points: impl IntoIterator<Item = Point>)
where
    L: Locate,
    L::Node: Ord + Debug,
{
    let ends = [Point::MIN, Point::MAX];
    for point in points.into_iter().chain(ends) {
        let mut all = vec![None; nodes + 1];
        let count = locate.locate(point, &mut all);
        assert_eq!(
            count, nodes,
            "every node that can serve is named at {point}"
        );
        assert!(
            all[..nodes].iter().all(Option::is_some),
            "no gaps at {point}"
        );
        assert!(
            all[nodes].is_none(),
            "what is not filled is None at {point}"
        );
        let distinct: BTreeSet<_> = all.iter().flatten().collect();
        assert_eq!(distinct.len(), nodes, "nodes are distinct at {point}");
        assert_eq!(
            locate.owner(point),
            all[0],
            "the owner comes first at {point}"
        );
        for length in 0..=nodes {
            // Filled beforehand, so that a stale slot shows.
            let mut some = vec![all[0]; length];
            assert_eq!(
                locate.locate(point, &mut some),
                length,
                "a short buffer is filled"
            );
            assert_eq!(
                some,
                all[..length],
                "a short buffer gets a prefix at {point}"
            );
        }
    }
}
