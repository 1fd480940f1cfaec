//! The rule that whoever keeps the journal from being used again is flushed in its turn. Knows
//! nothing of how turns are given.

use std::collections::BTreeMap;

use tablestore_placement::PartitionId;
use tablestore_store::ReadRows as _;

use super::World;
use super::event::Life;

/// A flush of each other partition for each slot, and some that memory asks for: so many flushes
/// end at most before a partition has its turn. Each of the partitions counts so often.
const FLUSHES_EACH_MAX: u64 = 5;

/// By number of the partition: up to where it was durable, and how many flushes ended since.
pub(crate) type PassedOver = BTreeMap<u64, (u64, u64)>;

impl World {
    /// A flush has ended: who waits for one was passed over once more.
    pub(super) fn judge_turns(&mut self, life: Life) {
        let machine = &mut self.machines[life.slot];
        let (engine, is_full) = (&machine.engine, machine.is_full);
        let limit = FLUSHES_EACH_MAX * engine.partitions().len() as u64;
        let Some(process) = machine.process.as_mut() else {
            return;
        };
        let plane = &process.plane;
        let waits = |number: u64, index: u64| {
            let works = plane.status(PartitionId::from_u64(number)).is_some();
            let durable = engine.checkpointed(number);
            let can = works && !is_full && durable < engine.applied(number);
            (can && durable < index).then_some(durable)
        };
        let mut passed_over = PassedOver::new();
        for (number, index) in &process.journal.held {
            if let Some(durable) = waits(*number, *index) {
                let before = process.passed_over.get(number);
                let before = before.filter(|(since, _)| *since == durable);
                let times = before.map_or(0, |(_, times)| *times) + 1;
                passed_over.insert(*number, (durable, times));
            }
        }
        let worst = passed_over.iter().max_by_key(|(_, (_, times))| *times);
        let starved = worst.filter(|(_, (_, times))| *times > limit);
        let starved = starved.map(|(number, of)| (PartitionId::from_u64(*number), *of));
        process.passed_over = passed_over;
        if let Some((partition, (durable, times))) = starved {
            self.fail("Flush", || {
                format!(
                    "{partition} of {life:?} holds the oldest segment of the journal, is durable \
                     up to {durable} only, and was passed over {times} times"
                )
            });
        }
    }
}
