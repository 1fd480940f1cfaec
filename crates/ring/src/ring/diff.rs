//! What changes hands from one ring to another. Knows nothing about why.

use core::iter;

use super::{Ring, Stretch};
use crate::{Point, PointHash, StableBytes};

/// An arc of the circle that has another owner in the ring after than in the ring before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Move<'a, N> {
    /// The first point of the arc.
    pub first: Point,
    /// The last point of the arc, included.
    pub last: Point,
    /// Who owned it; `None` if nobody did.
    pub from: Option<&'a N>,
    /// Who owns it now; `None` if nobody does.
    pub to: Option<&'a N>,
}

impl<N: Clone + Ord + StableBytes, H: PointHash> Ring<N, H> {
    /// The arcs that another server owns in `after` than in this ring, from [`Point::MIN`] to
    /// [`Point::MAX`]: exact, not sampled. Neighbouring arcs between the same two servers are one.
    /// Linear in the tokens of both rings, which may differ in anything but the id's type.
    ///
    /// ```
    /// use tablestore_ring::{Ring, Server};
    /// let mut before = Ring::new();
    /// before.extend([Server::new("a"), Server::new("b")])?;
    /// let mut after = before.clone();
    /// after.add(Server::new("c"))?;
    /// assert!(before.diff(&after).all(|arc| arc.to == Some(&"c")), "nothing else moves");
    /// # Ok::<(), tablestore_ring::AddError>(())
    /// ```
    pub fn diff<'a, G: PointHash>(
        &'a self,
        after: &'a Ring<N, G>,
    ) -> impl Iterator<Item = Move<'a, N>> {
        let mut pieces = pieces(self.stretches(), after.stretches()).peekable();
        iter::from_fn(move || {
            let mut arc = pieces.next()?;
            while let Some(more) = pieces.next_if(|next| {
                let joins = arc.last.0.checked_add(1) == Some(next.first.0);
                joins && (next.from, next.to) == (arc.from, arc.to)
            }) {
                arc.last = more.last;
            }
            Some(arc)
        })
    }
}

/// The whole circle cut wherever either ring is, as far as the owners differ.
fn pieces<'a, N: Eq + 'a>(
    before: impl Iterator<Item = Stretch<'a, N>>,
    after: impl Iterator<Item = Stretch<'a, N>>,
) -> impl Iterator<Item = Move<'a, N>> {
    let (mut before, mut after) = (before.peekable(), after.peekable());
    let mut next = Some(Point::MIN);
    iter::from_fn(move || {
        loop {
            let first = next?;
            let end = |stretch: &Stretch<'_, N>| stretch.last;
            let last_before = before.peek().map_or(Point::MAX, end);
            let last_after = after.peek().map_or(Point::MAX, end);
            let last = last_before.min(last_after);
            let from = before.peek().map(|stretch| stretch.owner);
            let to = after.peek().map(|stretch| stretch.owner);
            before.next_if(|stretch| stretch.last == last);
            after.next_if(|stretch| stretch.last == last);
            next = last.0.checked_add(1).map(Point);
            if from != to {
                return Some(Move {
                    first,
                    last,
                    from,
                    to,
                });
            }
        }
    })
}
