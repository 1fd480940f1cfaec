//! The walk from a point onwards: which servers, in which order. Knows nothing about changes.

use alloc::vec;
use alloc::vec::Vec;

use super::Ring;
use crate::{Locate, Point, PointHash, StableBytes};

/// Servers of an answer whose slots are remembered on the stack; later ones are searched by id.
const REMEMBERED: usize = 16;

/// The slots and zones of the servers chosen so far.
type Chosen = [(u32, u32); REMEMBERED];

impl<N: Clone + Ord + StableBytes, H: PointHash> Locate for Ring<N, H> {
    type Node = N;

    /// First the nearest server of every zone in ring order, then the second of every zone that
    /// has one, and so on: with enough zones all answers lie in distinct zones, with fewer they
    /// are spread as evenly as the zones allow.
    #[inline]
    fn locate<'a>(&'a self, point: Point, out: &mut [Option<&'a N>]) -> usize {
        out.fill(None);
        let mut chosen: Chosen = [(0, 0); REMEMBERED];
        let mut found = 0;
        for (round, zones) in self.zones.larger_than().iter().enumerate() {
            let mut zones_left = *zones;
            for slot in self.tokens.slots_from(point) {
                if found == out.len() {
                    return found;
                }
                if zones_left == 0 {
                    break;
                }
                let zone = self.zone_of[slot as usize];
                if self.may_follow(slot, zone, &chosen, &out[..found], round) {
                    if let Some(place) = chosen.get_mut(found) {
                        *place = (slot, zone);
                    }
                    out[found] = Some(&self.at(slot).id);
                    found += 1;
                    zones_left -= 1;
                }
            }
        }
        found
    }

    #[inline]
    fn owner(&self, point: Point) -> Option<&N> {
        let slot = self.tokens.first_slot_from(point)?;
        Some(&self.at(slot).id)
    }

    /// For more servers than a handful, once around the ring in the worst case.
    fn preference(&self, point: Point, count: usize) -> Vec<&N> {
        if count <= REMEMBERED {
            let mut out = [None; REMEMBERED];
            self.locate(point, &mut out[..count]);
            return out.into_iter().flatten().collect();
        }
        let mut left = self.zones.able();
        let mut seen = vec![false; self.servers.len()];
        let mut of_zone = vec![0_u32; self.zones.numbers()];
        let mut ranked = Vec::with_capacity(left);
        for slot in self.tokens.slots_from(point) {
            if left == 0 {
                break;
            }
            if !core::mem::replace(&mut seen[slot as usize], true) {
                let round = &mut of_zone[self.zone_of[slot as usize] as usize];
                ranked.push((*round, slot));
                *round += 1;
                left -= 1;
            }
        }
        // Stable: within a round in the order of the walk.
        ranked.sort_by_key(|(round, _)| *round);
        ranked.truncate(count);
        ranked
            .into_iter()
            .map(|(_, slot)| &self.at(slot).id)
            .collect()
    }
}

impl<N: Clone + Ord + StableBytes, H: PointHash> Ring<N, H> {
    /// The servers of all tokens from `point` on, once around: each as often as it has tokens.
    pub(crate) fn walk(&self, point: Point) -> impl Iterator<Item = &N> {
        self.tokens.slots_from(point).map(|slot| &self.at(slot).id)
    }

    /// Whether `slot` is not among the chosen and its zone was chosen at most `round` times.
    #[inline]
    fn may_follow(
        &self,
        slot: u32,
        zone: u32,
        chosen: &Chosen,
        ids: &[Option<&N>],
        round: usize,
    ) -> bool {
        let mut of_zone = 0;
        for (other, other_zone) in &chosen[..ids.len().min(REMEMBERED)] {
            if *other == slot {
                return false;
            }
            of_zone += usize::from(*other_zone == zone);
        }
        for id in ids.iter().skip(REMEMBERED).flatten() {
            if let Some((_, other)) = self.slot_of(id) {
                if other == slot {
                    return false;
                }
                of_zone += usize::from(self.zone_of[other as usize] == zone);
            }
        }
        of_zone <= round
    }
}
