//! Clocks that go faster or slower than the time of the run, each at its own rate. Knows nothing of
//! steps of a wall clock.

use crate::rng::Chance;

/// Parts of a million.
const MILLION: i64 = 1_000_000;
/// The fastest clock, in parts of a million: a hundred times worse than a server's, and what a
/// virtual machine under load may show.
const DRIFT_PPM_MAX: i64 = 10_000;

/// By how much a clock is faster than the time of the run.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Drift {
    ppm: i64,
}

impl Drift {
    /// Half of the clocks are right.
    pub(crate) fn of(chance: &mut Chance) -> Self {
        let ppm = chance.pick(&[0, 0, 0, -200, 200, -DRIFT_PPM_MAX, DRIFT_PPM_MAX]);
        Self {
            ppm: ppm.unwrap_or(0),
        }
    }

    /// None goes faster.
    pub(crate) fn fastest() -> Self {
        Self { ppm: DRIFT_PPM_MAX }
    }

    /// What the clock shows after so much time of the run, in the unit of that.
    pub(crate) fn shown(self, elapsed: u64) -> u64 {
        scale(elapsed, MILLION + self.ppm, MILLION, 0)
    }

    /// The first moment of the run at which the clock shows so much.
    pub(crate) fn elapsed(self, shown: u64) -> u64 {
        let rate = MILLION + self.ppm;
        scale(shown, MILLION, rate, rate - 1)
    }
}

fn scale(time: u64, by: i64, per: i64, rest: i64) -> u64 {
    let scaled = (i128::from(time) * i128::from(by) + i128::from(rest)) / i128::from(per);
    u64::try_from(scaled).unwrap_or(u64::MAX / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_due_by_a_clock_is_due_when_the_run_gets_there_and_no_moment_sooner() {
        for ppm in [0, -200, 200, -DRIFT_PPM_MAX, DRIFT_PPM_MAX] {
            let drift = Drift { ppm };
            for shown in [0, 1, 2, 999, 1_000, 123_456_789] {
                let at = drift.elapsed(shown);
                assert!(drift.shown(at) >= shown, "{ppm}: {shown} is due at {at}");
                let before = at.checked_sub(1).map(|before| drift.shown(before));
                assert!(before.is_none_or(|before| before < shown), "{ppm}: {shown}");
            }
        }
        assert_eq!(Drift { ppm: 10_000 }.shown(1_000_000), 1_010_000);
        assert_eq!(Drift { ppm: -10_000 }.shown(1_000_000), 990_000);
    }
}
