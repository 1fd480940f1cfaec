//! The limits and times of the active core, each with its reason. Knows nothing of how they are
//! used.

use std::time::Duration;

use crate::settings::SettingsError;

/// How far a version may be ahead of a node's time of day: beyond it a clock is wrong, not late.
pub const DRIFT_MAX: Duration = Duration::from_millis(500);
/// How far above the present the durable bound of the clock is put: a write to disk for every
/// hundred milliseconds of stamps. Below `drift_max`, since a restarted node stamps above it.
pub const BOUND_RESERVE: Duration = Duration::from_millis(200);
/// Requests that a node coordinates at once; beyond it they are refused as busy.
pub const REQUESTS_MAX: usize = 65_536;
/// A request is answered within this, whatever happened: the patience of a client.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(2);
/// A replica that has not answered gets the request again after this.
pub const RESEND_AFTER: Duration = Duration::from_millis(200);
/// How often a read of the kind `strong` begins anew because a repair of it was refused.
pub const STRONG_RETRIES_MAX: u32 = 3;
/// Bytes of hints that a node keeps for all others: what 10 000 small writes a second are in half a
/// minute. Beyond it hints are dropped, and anti-entropy does their work.
pub const HINT_BYTES_MAX: usize = 32 << 20;
/// Hints that are on their way to one member at once.
pub const HINTS_IN_FLIGHT_MAX: usize = 32;
/// The pause between two batches of hints to one member, so that foreground goes before: 640 hints
/// a second.
pub const HINT_REPLAY_EVERY: Duration = Duration::from_millis(50);
/// Requests that a replica has accepted and not yet synced; beyond it they are refused as busy.
pub const UNSYNCED_MAX: usize = 65_536;
/// Bytes of rows in one message of anti-entropy, so that requests are not held up behind it.
pub const ENTROPY_BYTES_MAX: usize = 256 << 10;
/// Rows in one message of anti-entropy: bounds the work of one turn.
pub const ENTROPY_ROWS_MAX: usize = 256;
/// Sums in one message of anti-entropy: 16 bytes each.
pub const COMPARE_NODES_MAX: usize = 1024;
/// The pause between two parts of the scan that builds the tree: 50 000 rows a second at most.
pub const SCAN_EVERY: Duration = Duration::from_millis(5);
/// An unanswered question to another replica is repeated so often before the sweep ends.
pub const SWEEP_RETRIES_MAX: u32 = 5;
/// The pause between the end of a sweep and the next.
pub const SWEEP_EVERY: Duration = Duration::from_secs(30);
/// The pause between two sweeps of a replica that is not whole yet: the others wait for it.
pub const JOIN_SWEEP_EVERY: Duration = Duration::from_millis(500);
/// So long a new replica waits for the rows of the one that it replaces, when enough of the others
/// have told it theirs: only writes that asked for less than a majority may be there alone.
pub const JOIN_PATIENCE: Duration = Duration::from_secs(60);
/// A floor is proposed this far behind the present at least: hints and repairs that are younger
/// still arrive.
pub const FLOOR_AGE: Duration = Duration::from_secs(60);
/// A floor rises by no less than this: after every rise all rows are looked at.
pub const FLOOR_STEP: Duration = Duration::from_secs(600);

/// The limits and times of a node's coordinator and replicas.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// See [`DRIFT_MAX`].
    pub drift_max: Duration,
    /// See [`BOUND_RESERVE`].
    pub bound_reserve: Duration,
    /// See [`REQUESTS_MAX`].
    pub requests_max: usize,
    /// See [`REQUEST_TIMEOUT`].
    pub request_timeout: Duration,
    /// See [`RESEND_AFTER`].
    pub resend_after: Duration,
    /// See [`STRONG_RETRIES_MAX`].
    pub strong_retries_max: u32,
    /// See [`HINT_BYTES_MAX`].
    pub hint_bytes_max: usize,
    /// See [`HINTS_IN_FLIGHT_MAX`].
    pub hints_in_flight_max: usize,
    /// See [`HINT_REPLAY_EVERY`].
    pub hint_replay_every: Duration,
    /// See [`UNSYNCED_MAX`].
    pub unsynced_max: usize,
    /// See [`ENTROPY_BYTES_MAX`].
    pub entropy_bytes_max: usize,
    /// See [`ENTROPY_ROWS_MAX`].
    pub entropy_rows_max: usize,
    /// See [`COMPARE_NODES_MAX`].
    pub compare_nodes_max: usize,
    /// See [`SCAN_EVERY`].
    pub scan_every: Duration,
    /// See [`SWEEP_RETRIES_MAX`].
    pub sweep_retries_max: u32,
    /// See [`SWEEP_EVERY`].
    pub sweep_every: Duration,
    /// See [`JOIN_SWEEP_EVERY`].
    pub join_sweep_every: Duration,
    /// See [`JOIN_PATIENCE`].
    pub join_patience: Duration,
    /// See [`FLOOR_AGE`].
    pub floor_age: Duration,
    /// See [`FLOOR_STEP`].
    pub floor_step: Duration,
    /// The deliberate bug that is switched on.
    #[cfg(feature = "mutants")]
    pub mutant: Option<super::mutant::Mutant>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            drift_max: DRIFT_MAX,
            bound_reserve: BOUND_RESERVE,
            requests_max: REQUESTS_MAX,
            request_timeout: REQUEST_TIMEOUT,
            resend_after: RESEND_AFTER,
            strong_retries_max: STRONG_RETRIES_MAX,
            hint_bytes_max: HINT_BYTES_MAX,
            hints_in_flight_max: HINTS_IN_FLIGHT_MAX,
            hint_replay_every: HINT_REPLAY_EVERY,
            unsynced_max: UNSYNCED_MAX,
            entropy_bytes_max: ENTROPY_BYTES_MAX,
            entropy_rows_max: ENTROPY_ROWS_MAX,
            compare_nodes_max: COMPARE_NODES_MAX,
            scan_every: SCAN_EVERY,
            sweep_retries_max: SWEEP_RETRIES_MAX,
            sweep_every: SWEEP_EVERY,
            join_sweep_every: JOIN_SWEEP_EVERY,
            join_patience: JOIN_PATIENCE,
            floor_age: FLOOR_AGE,
            floor_step: FLOOR_STEP,
            #[cfg(feature = "mutants")]
            mutant: None,
        }
    }
}

impl Settings {
    /// The settings, if they make sense together.
    ///
    /// # Errors
    /// Names the first rule that is broken.
    pub fn validated(self) -> Result<Self, SettingsError> {
        let limits = [
            ("requests_max", self.requests_max),
            ("hints_in_flight_max", self.hints_in_flight_max),
            ("unsynced_max", self.unsynced_max),
            ("entropy_bytes_max", self.entropy_bytes_max),
            ("entropy_rows_max", self.entropy_rows_max),
            ("compare_nodes_max", self.compare_nodes_max),
        ];
        let times = [
            ("resend_after", self.resend_after),
            ("hint_replay_every", self.hint_replay_every),
            ("sweep_every", self.sweep_every),
            ("join_sweep_every", self.join_sweep_every),
            ("scan_every", self.scan_every),
            ("floor_step", self.floor_step),
            ("bound_reserve", self.bound_reserve),
        ];
        let zero = limits.iter().find(|limit| limit.1 == 0).map(|l| l.0);
        let zero = zero.or_else(|| times.iter().find(|t| t.1.is_zero()).map(|t| t.0));
        if let Some(name) = zero {
            return Err(SettingsError::Zero(name));
        }
        let orders = [
            (
                "drift_max",
                self.drift_max,
                "bound_reserve",
                self.bound_reserve,
            ),
            (
                "request_timeout",
                self.request_timeout,
                "resend_after",
                self.resend_after,
            ),
            (
                "floor_age",
                self.floor_age,
                "request_timeout",
                self.request_timeout,
            ),
            ("floor_age", self.floor_age, "drift_max", self.drift_max),
        ];
        let broken = orders.iter().find(|order| order.1 <= order.3);
        broken.map_or(Ok(self), |order| {
            Err(SettingsError::Order(order.0, order.2))
        })
    }

    pub(crate) fn drift_max_ms(&self) -> u64 {
        whole_ms(self.drift_max)
    }
}

/// Milliseconds, as versions count them.
pub(crate) fn whole_ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_valid_and_a_broken_rule_is_named() {
        assert_eq!(Settings::default().validated(), Ok(Settings::default()));
        let broken = Settings {
            bound_reserve: DRIFT_MAX,
            ..Settings::default()
        };
        assert_eq!(
            broken.validated(),
            Err(SettingsError::Order("drift_max", "bound_reserve"))
        );
    }
}
