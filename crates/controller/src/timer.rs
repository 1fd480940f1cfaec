//! Something that is done again and again. Knows nothing of what.

use std::time::Duration;

/// Later than this, the rhythm starts anew: what was missed is not made up for.
const LATE_MAX: Duration = Duration::from_millis(5);

/// When something is due next.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timer {
    every: Duration,
    pub(crate) due: Duration,
}

impl Timer {
    /// Due at once, then at this pace.
    pub(crate) fn new(every: Duration) -> Self {
        let due = Duration::ZERO;
        Self { every, due }
    }

    /// Whether it is due; if so the next time is set.
    pub(crate) fn is_up(&mut self, now: Duration) -> bool {
        if now < self.due {
            return false;
        }
        let late = now > self.due + LATE_MAX;
        self.due = if late { now } else { self.due } + self.every;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rhythm_is_kept_and_what_was_missed_is_not_made_up_for() {
        let ms = Duration::from_millis;
        let mut timer = Timer::new(ms(40));
        let at: Vec<u64> = (0..300)
            .filter(|at| !(90..200).contains(at) && timer.is_up(ms(*at)))
            .collect();
        assert_eq!(at, [0, 40, 80, 200, 240, 280]);
    }
}
