//! The settings of the detector, and why they have the values they have.

use std::time::Duration;

use thiserror::Error;

/// When a detector suspects and convicts.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct DetectorSettings {
    /// How often the observer asks. Default 100 ms.
    pub heartbeat: Duration,
    /// How many intervals between answers are remembered. Default 64, six seconds' worth: long
    /// enough for a variance, short enough to forget an hour of load within seconds.
    pub window: usize,
    /// Least standard deviation assumed of the intervals. Default 50 ms: answers that come like
    /// clockwork must not make 120 ms look like death.
    pub deviation_min: Duration,
    /// The φ from which a node is suspect. Default 8, about 360 ms of silence.
    pub phi_suspect: f64,
    /// The silence from which a node is suspect whatever φ says. Default 450 ms: irregular
    /// answers must not postpone it without end.
    pub suspect_after_max: Duration,
    /// The silence from which a node is dead even though no other observer has confirmed it,
    /// unless one has seen it alive. Default 600 ms.
    pub dead_after: Duration,
    /// How long a node that has not yet answered at all may take. Default 2 s.
    pub start_up: Duration,
    /// For how long another observer's finding counts. Default 300 ms, three heartbeats.
    pub probe_fresh: Duration,
    /// Between two calls with more time between them the observer was itself late. Default 150 ms.
    pub own_gap_max: Duration,
    /// Age of the oldest unfinished work from which a node is stalled. Default 500 ms.
    pub stall: Duration,
    /// For how long a stalled node must have worked to be alive again. Default 1 s; doubles with
    /// every relapse.
    pub stall_recovery: Duration,
    /// How long offices are withheld after the second failure in a row. Default 5 s; doubles
    /// with every further failure, up to [`hold_down_max`](Self::hold_down_max).
    pub hold_down: Duration,
    /// The longest hold-down. Default 5 minutes.
    pub hold_down_max: Duration,
    /// After so long without failing, one failure is forgotten. Default 10 minutes.
    pub flap_forgiven_after: Duration,
}

impl Default for DetectorSettings {
    fn default() -> Self {
        let ms = Duration::from_millis;
        Self {
            heartbeat: ms(100),
            window: 64,
            deviation_min: ms(50),
            phi_suspect: 8.0,
            suspect_after_max: ms(450),
            dead_after: ms(600),
            start_up: ms(2_000),
            probe_fresh: ms(300),
            own_gap_max: ms(150),
            stall: ms(500),
            stall_recovery: ms(1_000),
            hold_down: ms(5_000),
            hold_down_max: ms(300_000),
            flap_forgiven_after: ms(600_000),
        }
    }
}

impl DetectorSettings {
    /// The default times for another heartbeat, those that are multiples of it scaled with it.
    pub fn with_heartbeat(heartbeat: Duration) -> Result<Self, DetectorSettingsInvalid> {
        let base = Self::default();
        let scale =
            |time: Duration| time.mul_f64(heartbeat.as_secs_f64() / base.heartbeat.as_secs_f64());
        let scaled = Self {
            heartbeat,
            deviation_min: scale(base.deviation_min),
            suspect_after_max: scale(base.suspect_after_max),
            dead_after: scale(base.dead_after),
            probe_fresh: scale(base.probe_fresh),
            own_gap_max: scale(base.own_gap_max),
            ..base
        };
        scaled.validated()
    }

    /// The settings, if they make sense together.
    pub fn validated(self) -> Result<Self, DetectorSettingsInvalid> {
        let rules = [
            (!self.heartbeat.is_zero(), "heartbeat must not be zero"),
            (self.window >= 2, "window must hold at least two intervals"),
            (
                !self.deviation_min.is_zero(),
                "deviation_min must not be zero",
            ),
            (
                self.phi_suspect.is_finite() && self.phi_suspect > 0.0,
                "phi_suspect must be positive",
            ),
            (
                self.suspect_after_max > self.heartbeat,
                "suspect_after_max must exceed heartbeat",
            ),
            (
                self.dead_after >= self.suspect_after_max,
                "dead_after is below suspect_after_max",
            ),
            (
                self.start_up >= self.dead_after,
                "start_up must not be below dead_after",
            ),
            (
                self.own_gap_max >= self.heartbeat,
                "own_gap_max must not be below heartbeat",
            ),
            (
                self.hold_down_max >= self.hold_down,
                "hold_down_max is below hold_down",
            ),
        ];
        match rules.into_iter().find(|(kept, _)| !kept) {
            None => Ok(self),
            Some((_, rule)) => Err(DetectorSettingsInvalid { rule }),
        }
    }
}

/// The settings contradict each other; nothing was made. Change the one that is named.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("{rule}")]
pub struct DetectorSettingsInvalid {
    /// The rule that is broken.
    pub rule: &'static str,
}
