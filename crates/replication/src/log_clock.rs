//! The own time of a log: what decides how long the result of a request is remembered.
//!
//! It goes on by no more than really elapsed between two entries, as the monotonic clock of
//! whoever stamps tells, and stands still while nobody watches. So no wall clock, of a node or a
//! client, can push it: it may be late, never early. Knows no clock but the `now` that it is given.

use crate::types::Now;

/// The greatest time of a log that a replica knows, and since when.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct LogClock {
    /// Nothing before the first entry was seen.
    seen: Option<Seen>,
}

#[derive(Clone, Copy, Debug)]
struct Seen {
    log_ms: u64,
    /// Not known for what was found on the disk, until the replica is told the time.
    at: Option<Now>,
}

impl LogClock {
    /// A clock that goes on from what was found on the disk.
    pub(crate) fn recovered(log_ms: Option<u64>) -> Self {
        Self {
            seen: log_ms.map(|log_ms| Seen { log_ms, at: None }),
        }
    }

    /// The replica is told the time: from now on it watches.
    pub(crate) fn watch(&mut self, now: Now) {
        if let Some(seen) = &mut self.seen {
            seen.at.get_or_insert(now);
        }
    }

    /// An entry of another replica came: time goes on from it, also if it is behind.
    ///
    /// Else an entry that a slow clock stamped would age faster than time by what it was behind.
    pub(crate) fn received(&mut self, log_ms: u64, now: Now) {
        self.seen = Some(Seen {
            log_ms,
            at: Some(now),
        });
    }

    /// An entry of the log was applied, which may have been on the disk: time is not before it.
    pub(crate) fn applied(&mut self, log_ms: u64, now: Now) {
        if self.seen.is_none() || log_ms > self.read(now) {
            self.received(log_ms, now);
        }
    }

    /// The time of an entry that is written now. Goes on from where it was, so that nothing is
    /// lost to rounding however many are written.
    pub(crate) fn stamp(&mut self, now: Now) -> u64 {
        self.watch(now);
        self.seen.get_or_insert(Seen {
            log_ms: 0,
            at: Some(now),
        });
        self.read(now)
    }

    /// When it will be so late, if nothing is written meanwhile.
    pub(crate) fn when(&self, log_ms: u64, now: Now) -> Now {
        now + Now::from_millis(log_ms.saturating_sub(self.read(now)))
    }

    fn read(&self, now: Now) -> u64 {
        let Some(seen) = self.seen else { return 0 };
        let elapsed = seen.at.map_or(Now::ZERO, |at| now.saturating_sub(at));
        let elapsed_ms = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
        seen.log_ms.saturating_add(elapsed_ms)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);
    const HOUR_MS: u64 = 3_600_000;

    #[test]
    fn it_begins_with_the_first_entry_and_goes_on_with_the_monotonic_clock() {
        let mut clock = LogClock::default();
        assert_eq!(
            clock.stamp(HOUR),
            0,
            "the age of the process is not the log's"
        );
        assert_eq!(clock.stamp(HOUR * 2), HOUR_MS);
        for us in 1..=2_000 {
            clock.stamp(HOUR * 2 + Duration::from_micros(us));
        }
        assert_eq!(
            clock.stamp(HOUR * 2 + Duration::from_millis(2)),
            HOUR_MS + 2
        );
    }

    #[test]
    fn what_was_found_on_the_disk_does_not_age_before_the_replica_watches() {
        let mut clock = LogClock::recovered(Some(7));
        clock.watch(HOUR * 10);
        assert_eq!(clock.stamp(HOUR * 10), 7);
        assert_eq!(clock.stamp(HOUR * 11), 7 + HOUR_MS);
    }

    #[test]
    fn a_replica_that_was_told_of_nothing_does_not_run_ahead_of_the_log() {
        let mut clock = LogClock::recovered(None);
        clock.watch(HOUR);
        clock.received(5, HOUR * 10);
        assert_eq!(clock.stamp(HOUR * 10), 5);
    }

    #[derive(Clone, Debug)]
    enum Step {
        Passes(u64),
        Writes,
        Learns(usize),
        Restarts(usize),
        TakesOffice(usize),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            3 => (0u64..2_000_000).prop_map(Step::Passes),
            4 => Just(Step::Writes),
            2 => (0usize..3).prop_map(Step::Learns),
            1 => (0usize..3).prop_map(Step::Restarts),
            2 => (0usize..3).prop_map(Step::TakesOffice),
        ]
    }

    proptest! {
        /// Three replicas whose processes began at different times: whoever writes, the stamps of
        /// the log never go back, and between any two entries never go on by more than elapsed.
        #[test]
        fn stamps_never_go_back_nor_faster_than_time(
            steps in prop::collection::vec(step(), 1..80),
        ) {
            let mut elapsed_us = 0u64;
            let mut began = [0u64, 0, 0];
            let mut clocks = [LogClock::default(); 3];
            let mut primary = 0;
            // Every entry with the time at which it was written.
            let mut log: Vec<(u64, u64)> = Vec::new();
            for step in steps {
                let now = |at: usize, began: &[u64; 3], elapsed_us: u64| {
                    Duration::from_micros(elapsed_us - began[at])
                };
                match step {
                    Step::Passes(us) => elapsed_us += us,
                    Step::Writes => {
                        let stamp = clocks[primary].stamp(now(primary, &began, elapsed_us));
                        log.push((stamp, elapsed_us));
                    }
                    // A primary has written the log itself, or received it before.
                    Step::Learns(at) if at == primary => {}
                    Step::Learns(at) => {
                        for (stamp, _) in &log {
                            clocks[at].received(*stamp, now(at, &began, elapsed_us));
                        }
                    }
                    Step::Restarts(at) => {
                        began[at] = elapsed_us;
                        clocks[at] = LogClock::recovered(log.last().map(|(stamp, _)| *stamp));
                    }
                    Step::TakesOffice(at) if at == primary => {}
                    Step::TakesOffice(at) => {
                        // A new primary has the whole log before it writes.
                        for (stamp, _) in &log {
                            clocks[at].received(*stamp, now(at, &began, elapsed_us));
                        }
                        primary = at;
                    }
                }
            }
            for pair in log.windows(2) {
                prop_assert!(pair[0].0 <= pair[1].0);
            }
            for (at, (stamp, us)) in log.iter().enumerate() {
                for (earlier, earlier_us) in &log[..at] {
                    let elapsed_ms = (us - earlier_us).div_ceil(1000);
                    prop_assert!(stamp - earlier <= elapsed_ms, "{log:?}");
                }
            }
        }
    }

    const NODES: usize = 3;
    const PARTS_US: u64 = 1_000;

    #[derive(Clone, Copy, Debug)]
    enum ForkStep {
        /// Nothing happens for this many microseconds.
        Pass(u64),
        /// The primary appends.
        Write,
        /// This node gets what it lacks of the primary's log; what differs is cut off.
        Follow(usize),
        /// This node takes office with the log that it has.
        Promote(usize),
        /// This node's process begins anew, with a monotonic clock of its own.
        Restart(usize),
    }

    fn fork_steps() -> impl Strategy<Value = Vec<ForkStep>> {
        let step = prop_oneof![
            3 => (0u64..3_000_000).prop_map(ForkStep::Pass),
            1 => (0u64..900_000_000).prop_map(ForkStep::Pass),
            6 => Just(ForkStep::Write),
            4 => (0..NODES).prop_map(ForkStep::Follow),
            1 => (0..NODES).prop_map(ForkStep::Promote),
            1 => (0..NODES).prop_map(ForkStep::Restart),
        ];
        prop::collection::vec(step, 1..120)
    }

    #[derive(Default)]
    struct Node {
        clock: LogClock,
        began_us: u64,
        /// (stamp, real time of stamping), from index 1.
        log: Vec<(u64, u64)>,
    }

    impl Node {
        fn now(&self, real_us: u64) -> Now {
            Duration::from_micros(real_us - self.began_us)
        }

        fn write(&mut self, real_us: u64) {
            let stamp = self.clock.stamp(self.now(real_us));
            self.log.push((stamp, real_us));
        }

        fn follow(&mut self, primary: &[(u64, u64)], real_us: u64) {
            let common = self.log.iter().zip(primary).take_while(|(a, b)| a == b);
            let common = common.count();
            self.log.truncate(common);
            let now = self.now(real_us);
            for entry in &primary[common..] {
                self.clock.received(entry.0, now);
                self.log.push(*entry);
            }
        }

        fn restart(&mut self, real_us: u64) {
            self.began_us = real_us;
            self.clock = LogClock::recovered(self.log.last().map(|last| last.0));
            self.clock.watch(Now::ZERO);
        }
    }

    /// For each pair of writes in the log: the later stamp is no lower, and no more log time
    /// lies between them than real time, but for the rounding to milliseconds.
    fn check(log: &[(u64, u64)]) -> Result<(), TestCaseError> {
        for (at, (stamp, real_us)) in log.iter().enumerate() {
            for (earlier, earlier_us) in &log[..at] {
                prop_assert!(earlier <= stamp, "the time of the log went back");
                let passed_ms = (real_us - earlier_us).div_ceil(PARTS_US);
                prop_assert!(stamp - earlier <= passed_ms, "{stamp} after {earlier}");
            }
        }
        Ok(())
    }

    proptest! {
        #[test]
        fn l27_log_time_never_passes_faster_than_real_time(steps in fork_steps()) {
            let mut nodes: [Node; NODES] = Default::default();
            let (mut primary, mut real_us) = (0, 0);
            for step in steps {
                match step {
                    ForkStep::Pass(us) => real_us += us,
                    ForkStep::Write => nodes[primary].write(real_us),
                    ForkStep::Follow(node) if node != primary => {
                        let log = nodes[primary].log.clone();
                        nodes[node].follow(&log, real_us);
                    }
                    ForkStep::Promote(node) => primary = node,
                    ForkStep::Restart(node) => nodes[node].restart(real_us),
                    ForkStep::Follow(_) => {}
                }
                check(&nodes[primary].log)?;
            }
        }
    }
}
