//! The circle cut at its tokens. Knows nothing about zones and keys.

use super::Ring;
use crate::{Point, PointHash, StableBytes};

/// A stretch of the ring with one owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stretch<'a, N> {
    /// The first point of the stretch.
    pub first: Point,
    /// The last point of the stretch, included.
    pub last: Point,
    /// Who owns it.
    pub owner: &'a N,
}

impl<N: Clone + Ord + StableBytes, H: PointHash> Ring<N, H> {
    /// The circle cut at its tokens, from [`Point::MIN`] to [`Point::MAX`], each stretch with its
    /// owner. For exact comparisons of two rings; empty if no server holds a token.
    pub fn stretches(&self) -> impl Iterator<Item = Stretch<'_, N>> {
        let mut next = Some(Point::MIN);
        let closing = self.tokens.iter().next();
        let closing = closing.map(|(_, slot)| (Point::MAX, slot));
        self.tokens
            .iter()
            .chain(closing)
            .filter_map(move |(point, slot)| {
                let first = next?;
                if point < first {
                    return None;
                }
                next = point.0.checked_add(1).map(Point);
                Some(Stretch {
                    first,
                    last: point,
                    owner: &self.at(slot).id,
                })
            })
    }
}
