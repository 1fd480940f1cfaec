//! Wall clocks of a run with an active table, whose versions are times of day: what leaps is right
//! again after a while in most runs, and when all is healed every clock shows what the one that was
//! furthest ahead had shown, as if so much time had passed. Knows nothing of versions.

use crate::cluster::World;
use crate::cluster::event::Slot;

/// The largest step of a clock that only slips, in milliseconds.
const SLIP_MS_MAX: u64 = 2_500;

impl World {
    /// The wall clock of a machine leaps.
    pub(in crate::cluster) fn step_clock(&mut self, slot: Slot, step_ms: i64) {
        let now = self.now;
        let machine = &mut self.machines[slot];
        machine.wall_off_ms += step_ms;
        let latest_ms = machine.wall_ms(now);
        self.active.latest_ms = self.active.latest_ms.max(latest_ms);
    }

    /// By so much a clock slips.
    pub(in crate::cluster) fn slip_of(whom: u64) -> i64 {
        let slip = (whom / 7) % (2 * SLIP_MS_MAX);
        slip.cast_signed() - SLIP_MS_MAX.cast_signed()
    }

    /// The end of a fault of a clock.
    pub(in crate::cluster) fn clock_comes_back(&mut self, slot: Slot, step_ms: i64) {
        let comes_back = self
            .scenario
            .active
            .is_some_and(|plan| plan.clocks_come_back);
        if comes_back && !self.healed {
            self.note_latest(slot);
            self.step_clock(slot, -step_ms);
        }
    }

    fn note_latest(&mut self, slot: Slot) {
        let shown_ms = self.machines[slot].wall_ms(self.now);
        self.active.latest_ms = self.active.latest_ms.max(shown_ms);
    }

    /// All clocks agree, on the latest time that any of them has shown.
    pub(in crate::cluster) fn agree_on_time(&mut self) {
        if self.scenario.active.is_none() || !self.healed {
            return;
        }
        (0..self.machines.len()).for_each(|slot| self.note_latest(slot));
        let (now, latest_ms) = (self.now, self.active.latest_ms);
        for machine in &mut self.machines {
            let behind_ms = latest_ms.saturating_sub(machine.wall_ms(now));
            machine.wall_off_ms += behind_ms.cast_signed();
        }
    }
}
