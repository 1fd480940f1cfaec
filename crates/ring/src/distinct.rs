//! Several distinct nodes from an algorithm that names one. Knows nothing about the algorithm.

use crate::Point;
use crate::mix::derived;

/// Points that are tried for each node that can serve. Whom so many do not name comes last, in
/// the order of `all`: with two nodes of equal share one attempt in 65 536 finds the first only.
const ATTEMPTS_PER_NODE: u64 = 16;
/// Numbers of derived points from which on none is used otherwise.
const NUMBERS: u64 = 1 << 32;

/// Fills `out` with the node of `point` and then those of points derived from it, as far as they
/// are new. `able` is how many nodes `all` has. Who asks for few of many nodes needs few attempts.
pub(crate) fn fill<'a, N>(
    point: Point,
    out: &mut [Option<&'a N>],
    able: usize,
    node_of: impl Fn(Point) -> Option<&'a N>,
    all: impl Iterator<Item = &'a N>,
) -> usize {
    out.fill(None);
    let wanted = out.len().min(able);
    let attempts = (0..ATTEMPTS_PER_NODE * able as u64).map(|attempt| match attempt {
        0 => point,
        _ => derived(point, NUMBERS + attempt),
    });
    let mut found = 0;
    for node in attempts.filter_map(node_of).chain(all) {
        if found == wanted {
            break;
        }
        let chosen = out[..found].iter().flatten();
        if !chosen.into_iter().any(|other| core::ptr::eq(*other, node)) {
            out[found] = Some(node);
            found += 1;
        }
    }
    found
}
