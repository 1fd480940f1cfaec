//! What the judge of histories is told of a run. Decides nothing.

use tablestore_dataplane::Seen;
use tablestore_placement::{Assignment, PartitionId};
use tablestore_replication::{Entry, Outcome};
use tablestore_store::ReadRows as _;
use tablestore_store::engine::Scan;

use super::World;
use super::drift::Drift;
use super::event::{Life, Slot};
use super::machine::slot_of;
use crate::check::{ProcessId, Rest};

pub(super) fn process_id(slot: Slot) -> ProcessId {
    ProcessId(slot as u32)
}

impl World {
    /// Tells the judge what became of rows in a turn.
    pub(super) fn judge(&mut self, life: Life, seen: Vec<Seen>) {
        let (now, process) = (self.now, process_id(life.slot));
        for one in seen {
            if self.is_active(one.partition()) {
                self.judge_active(life, one);
                continue;
            }
            match one {
                Seen::Kept { .. } => {}
                Seen::Opened { partition, applied } => {
                    self.tell_status(life, partition, "opened");
                    self.check.restarted(now, process, partition, applied);
                }
                Seen::Applied {
                    partition,
                    entries,
                    outcomes,
                } => {
                    self.judge_time(partition, &entries);
                    if let Some(last) = entries.last() {
                        self.judge_durable(life, partition, last.index);
                    }
                    let first = entries.first().map(|entry| entry.index);
                    let count = entries.len();
                    self.tell(|| format!("{life:?} {partition} applies {count} from {first:?}"));
                    self.check
                        .applied(now, process, partition, &entries, &outcomes);
                }
                Seen::Installed { partition, index } => {
                    self.tell_status(life, partition, "switched a copy in");
                    self.check.installed(now, process, partition, index);
                }
            }
        }
        self.heed();
    }

    fn tell_status(&mut self, life: Life, partition: PartitionId, what: &str) {
        let process = self.machines[life.slot].process.as_ref();
        let status = process.and_then(|process| process.plane.status(partition));
        self.tell(|| format!("{life:?} {what} {partition}: {status:?}"));
    }

    /// The time of a log begins at nothing and goes on no faster than real time, whatever the wall
    /// clocks show: else what is remembered is forgotten early.
    pub(super) fn judge_time(&mut self, partition: PartitionId, entries: &[Entry]) {
        // The clocks of several primaries may have added to it, none faster than the fastest.
        let now_ms = Drift::fastest().shown(self.now) / 1_000;
        let ahead = entries.iter().find_map(|entry| {
            let log_ms = entry.remembered(Outcome::default())?.log_ms;
            (log_ms > now_ms + 1).then_some((entry.index, log_ms))
        });
        if let Some((index, log_ms)) = ahead {
            self.fail("Clock", || {
                format!("entry {index} of {partition} has time {log_ms} after {now_ms} ms")
            });
        }
    }

    /// A rule that the judge finds broken ends the run.
    pub(super) fn heed(&mut self) {
        if let Some(violation) = self.check.violation()
            && self.violation.is_none()
        {
            self.violation = Some(violation.to_string());
        }
    }

    /// A partition is at rest: its copies are complete and the same.
    pub(super) fn judge_rest(&mut self, partition: PartitionId, assignment: &Assignment) {
        let all = Scan::all(usize::MAX, usize::MAX);
        for member in &assignment.replicas {
            let slot = slot_of(*member);
            let machine = &self.machines[slot];
            let process = machine.process.as_ref();
            let status = process.and_then(|p| p.plane.status(partition));
            let page = machine.engine.scan(partition.to_u64(), &all);
            let rest = Rest {
                applied: status.map_or(0, |status| status.applied),
                rows: page.map(|page| page.rows).unwrap_or_default(),
                remembered: None,
            };
            self.check
                .final_state(self.now, process_id(slot), partition, &rest);
        }
        self.heed();
    }

    /// All partitions were at rest: every answer is accounted for.
    pub(super) fn judge_end(&mut self) {
        self.check.finish(self.now);
        if self.scenario.has_second_opinion {
            let (opinions, given_up) = self.check.second_opinion(self.now);
            if opinions > 0 {
                self.took("a second opinion agreed");
            }
            if given_up > 0 {
                self.took("a second opinion was given up");
            }
        }
        self.heed();
    }
}
