//! Whose wall clock is off: further from the median of all than clocks may differ. Its node is
//! told, and stamps no writes of active tables while that lasts; if each refused what seems too far
//! ahead one by one, a single clock that is late would refuse what all others write.
//!
//! Knows nothing of how the time is told, and sets no clock.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tablestore_placement::StorageId;

use crate::{Controller, NoticeKind};

/// Further from the median than this a clock is off.
const OFF_MS: i64 = 500;
/// One that was off is right again within this distance.
const RIGHT_MS: i64 = 250;
/// An answer that took longer says too little about the moment at which a clock was read.
const ANSWERED_WITHIN: Duration = Duration::from_millis(200);
/// What was read earlier is not compared.
const FRESH_FOR: Duration = Duration::from_millis(1_000);

/// What a clock showed: how far it was ahead of this node's monotonic one, which never steps, and
/// when.
#[derive(Debug, Clone, Copy)]
struct Shown {
    ahead_ms: i64,
    at: Duration,
}

/// The clocks of the members that answer.
#[derive(Debug, Default)]
pub(crate) struct Clocks {
    shown: BTreeMap<StorageId, Shown>,
    off: BTreeSet<StorageId>,
}

impl Clocks {
    /// A member answered what it was asked at `sent`, and its clock showed this.
    pub(crate) fn note(&mut self, member: StorageId, sent: Duration, at: Duration, wall_ms: u64) {
        let took = at.saturating_sub(sent);
        // Nodes of an older version do not tell it.
        if took > ANSWERED_WITHIN || wall_ms == 0 {
            return;
        }
        let read_at = at.saturating_sub(took / 2);
        let read_at_ms = u64::try_from(read_at.as_millis()).unwrap_or(u64::MAX);
        let ahead_ms = signed(wall_ms).saturating_sub(signed(read_at_ms));
        self.shown.insert(member, Shown { ahead_ms, at });
    }

    /// How far a member's clock is from the median of all that answered lately; of two in the
    /// middle the nearer one, so that of two clocks neither counts as wrong.
    fn distance(&self, member: StorageId, now: Duration) -> Option<i64> {
        let fresh = |shown: &&Shown| now <= shown.at + FRESH_FOR;
        let own = self.shown.get(&member).filter(fresh)?;
        let lately = self.shown.values().filter(fresh);
        let mut all: Vec<i64> = lately.map(|shown| shown.ahead_ms).collect();
        all.sort_unstable();
        let middle = [all.get((all.len() - 1) / 2)?, all.get(all.len() / 2)?];
        let distances = middle.map(|middle| own.ahead_ms.saturating_sub(*middle));
        distances.into_iter().min_by_key(|ms| ms.unsigned_abs())
    }

    /// How many milliseconds a member's clock is ahead of the others (behind, if negative), where
    /// that is too much; and whether it has only now become too much.
    fn look(&mut self, member: StorageId, now: Duration) -> Option<(i64, bool)> {
        let distance = self.distance(member, now)?;
        let limit = match self.off.contains(&member) {
            true => RIGHT_MS,
            false => OFF_MS,
        };
        if distance.unsigned_abs() <= limit.unsigned_abs() {
            self.off.remove(&member);
            return None;
        }
        Some((distance, self.off.insert(member)))
    }
}

fn signed(ms: u64) -> i64 {
    i64::try_from(ms).unwrap_or(i64::MAX)
}

impl Controller {
    /// How many milliseconds a member's wall clock is ahead of the median of all (behind, if
    /// negative), where that is more than clocks may differ. To be told to it with each heartbeat.
    pub fn clock_off_ms(&mut self, member: StorageId) -> Option<i64> {
        let (off_ms, is_new) = self.clocks.look(member, self.at())?;
        if is_new {
            let way = if off_ms > 0 { "ahead of" } else { "behind" };
            let why = format!(
                "its clock is {} ms {way} the median of all: it takes no writes of active tables",
                off_ms.unsigned_abs()
            );
            self.notice(NoticeKind::ClockOff, Some(member), Some(why));
        }
        Some(off_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600_000;
    const MEMBER: StorageId = StorageId(3);

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// The time of day where a clock is right.
    fn day_ms(at: u64) -> u64 {
        1_000_000_000 + at
    }

    /// All answer at once; their clocks are so far ahead of the right time.
    fn off(clocks: &mut Clocks, at: u64, ahead: &[i64]) -> Vec<Option<i64>> {
        let members = || (1..).map(StorageId).zip(ahead);
        for (member, ahead) in members() {
            let wall_ms = day_ms(at).saturating_add_signed(*ahead);
            clocks.note(member, ms(at), ms(at), wall_ms);
        }
        let look = |(member, _)| clocks.look(member, ms(at));
        let looked = members().map(look);
        looked.map(|off| off.map(|(off_ms, _)| off_ms)).collect()
    }

    #[test]
    fn the_clock_that_differs_from_most_is_off_whoever_asks() {
        let cases: [(&[i64], &[Option<i64>]); 6] = [
            (&[0, 400, -100], &[None, None, None]),
            (&[0, 3, HOUR], &[None, None, Some(HOUR - 3)]),
            // This node's own clock is the wrong one.
            (&[0, HOUR, HOUR], &[Some(-HOUR), None, None]),
            // Nobody knows which of two is wrong, nor of two and two.
            (&[0, HOUR], &[None, None]),
            (&[0, 0, HOUR, HOUR], &[None, None, None, None]),
            (&[0, 501, HOUR], &[Some(-501), None, Some(HOUR - 501)]),
        ];
        for (ahead, expected) in cases {
            let mut clocks = Clocks::default();
            assert_eq!(off(&mut clocks, 50, ahead), expected, "{ahead:?}");
        }
    }

    #[test]
    fn a_clock_near_the_limit_does_not_go_to_and_fro() {
        let mut clocks = Clocks::default();
        let mut third = |at, ahead| off(&mut clocks, at, &[0, 0, ahead])[2];
        assert_eq!(third(0, 500), None);
        assert_eq!(third(100, 501), Some(501));
        assert_eq!(third(200, 251), Some(251));
        assert_eq!(third(300, 250), None);
        assert_eq!(third(400, 499), None);
    }

    #[test]
    fn what_came_late_or_is_old_says_nothing() {
        let mut clocks = Clocks::default();
        assert_eq!(off(&mut clocks, 0, &[0, 0, HOUR])[2], Some(HOUR));
        clocks.note(MEMBER, ms(699), ms(900), day_ms(900));
        assert_eq!(
            clocks.distance(MEMBER, ms(900)),
            Some(HOUR),
            "it took 201 ms"
        );
        assert_eq!(clocks.distance(MEMBER, ms(1_001)), None, "it is old");
        // A clock was read about in the middle of the time that the answer took.
        clocks.note(MEMBER, ms(700), ms(900), day_ms(800));
        assert_eq!(clocks.distance(MEMBER, ms(900)), Some(0));
        clocks.note(MEMBER, ms(950), ms(950), 0);
        assert_eq!(clocks.distance(MEMBER, ms(950)), Some(0), "it did not say");
    }
}
