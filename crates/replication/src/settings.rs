//! The limits and times of a replica, each with its reason. Knows nothing of how they are used.

use std::time::Duration;

/// Requests that wait while a new primary is not serving yet. A failover takes milliseconds;
/// at 20 000 requests a second this covers 50 ms.
pub const WAITING_MAX: usize = 1024;
/// Entries that are appended and not committed: beyond it writes are refused as busy.
pub const UNCOMMITTED_MAX: usize = 65_536;
/// Bytes that are appended and not committed: 40 of the largest batches.
pub const UNCOMMITTED_BYTES_MAX: usize = 64 << 20;
/// Bytes of the log's end that stay in memory: half a second at 20 000 small writes a second.
pub const TAIL_BYTES_MAX: usize = 2 << 20;
/// Bytes of one partition on the way to one follower: fills a 1 Gbit/s line at a round trip of
/// 8 ms, and with four partitions at one of 30 ms.
pub const WINDOW_BYTES_MAX: usize = 1 << 20;
/// Bytes in one append message, so that control messages are not held up behind it.
pub const APPEND_BYTES_MAX: usize = 256 << 10;
/// Entries in one batch for the state machine.
pub const APPLY_ENTRIES_MAX: usize = 1024;
/// Bytes of one read of the journal.
pub const READ_LOG_BYTES_MAX: usize = 1 << 20;
/// An idle primary tells its commit mark after this; readers of backups see it within 50 ms.
pub const COMMIT_IDLE_AFTER: Duration = Duration::from_millis(40);
/// An unanswered message is repeated after this. The transport is reliable while a session
/// lasts, so repetition is the exception.
pub const RESEND_AFTER: Duration = Duration::from_millis(200);
/// A member that does not confirm within this is replaced by a read of the map.
pub const CONFIRM_AFTER: Duration = Duration::from_millis(100);
/// A read that neither members nor the map confirmed by then is refused.
pub const CONFIRM_GIVE_UP_AFTER: Duration = Duration::from_secs(2);
/// An unanswered proposal is repeated after this: several times a raft round trip.
pub const PROPOSE_AGAIN_AFTER: Duration = Duration::from_millis(250);
/// A proposal that is unresolved for this long is withdrawn if its joiner does not keep up.
pub const WITHDRAW_AFTER: Duration = Duration::from_secs(1);
/// A member that entries wait for this long leaves the in-sync set.
pub const LAG_TIMEOUT: Duration = Duration::from_millis(500);
/// A member whose session is lost, and that entries wait for this long, leaves the in-sync set:
/// long enough to dial it again twice.
pub const LOST_TIMEOUT: Duration = Duration::from_millis(120);
/// A learner is caught up when it acknowledges what was the log end this long ago.
pub const CAUGHT_UP_WITHIN: Duration = Duration::from_millis(100);
/// The commit mark is written to the journal this often while it moves: what a restarted node has
/// to learn from its primaries before it can apply it.
pub const RECORD_COMMIT_EVERY: Duration = Duration::from_millis(500);
/// Results of requests are kept this long by the log's own time, which is never ahead.
pub const REMEMBER_FOR: Duration = Duration::from_secs(600);
/// At least as many results are kept, however old.
pub const REMEMBER_MIN: usize = 10_000;
/// A learner that is further behind no longer holds the log back; it gets a snapshot.
pub const PIN_ENTRIES_MAX: u64 = 500_000;
/// Epochs that the history of a log keeps at least.
pub const HISTORY_MAX: usize = 256;

/// The limits and times of a replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// See [`WAITING_MAX`].
    pub waiting_max: usize,
    /// See [`UNCOMMITTED_MAX`].
    pub uncommitted_max: usize,
    /// See [`UNCOMMITTED_BYTES_MAX`].
    pub uncommitted_bytes_max: usize,
    /// See [`TAIL_BYTES_MAX`].
    pub tail_bytes_max: usize,
    /// See [`WINDOW_BYTES_MAX`].
    pub window_bytes_max: usize,
    /// See [`APPEND_BYTES_MAX`].
    pub append_bytes_max: usize,
    /// See [`APPLY_ENTRIES_MAX`].
    pub apply_entries_max: usize,
    /// See [`READ_LOG_BYTES_MAX`].
    pub read_log_bytes_max: usize,
    /// See [`COMMIT_IDLE_AFTER`].
    pub commit_idle_after: Duration,
    /// See [`RESEND_AFTER`].
    pub resend_after: Duration,
    /// See [`CONFIRM_AFTER`].
    pub confirm_after: Duration,
    /// See [`CONFIRM_GIVE_UP_AFTER`].
    pub confirm_give_up_after: Duration,
    /// See [`PROPOSE_AGAIN_AFTER`].
    pub propose_again_after: Duration,
    /// See [`WITHDRAW_AFTER`].
    pub withdraw_after: Duration,
    /// See [`LAG_TIMEOUT`].
    pub lag_timeout: Duration,
    /// See [`LOST_TIMEOUT`].
    pub lost_timeout: Duration,
    /// See [`CAUGHT_UP_WITHIN`].
    pub caught_up_within: Duration,
    /// See [`RECORD_COMMIT_EVERY`].
    pub record_commit_every: Duration,
    /// See [`REMEMBER_FOR`].
    pub remember_for: Duration,
    /// See [`REMEMBER_MIN`].
    pub remember_min: usize,
    /// See [`PIN_ENTRIES_MAX`].
    pub pin_entries_max: u64,
    /// See [`HISTORY_MAX`].
    pub history_max: usize,
    /// The deliberate bug, if any.
    #[cfg(feature = "mutants")]
    pub mutant: Option<crate::mutant::Mutant>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            waiting_max: WAITING_MAX,
            uncommitted_max: UNCOMMITTED_MAX,
            uncommitted_bytes_max: UNCOMMITTED_BYTES_MAX,
            tail_bytes_max: TAIL_BYTES_MAX,
            window_bytes_max: WINDOW_BYTES_MAX,
            append_bytes_max: APPEND_BYTES_MAX,
            apply_entries_max: APPLY_ENTRIES_MAX,
            read_log_bytes_max: READ_LOG_BYTES_MAX,
            commit_idle_after: COMMIT_IDLE_AFTER,
            resend_after: RESEND_AFTER,
            confirm_after: CONFIRM_AFTER,
            confirm_give_up_after: CONFIRM_GIVE_UP_AFTER,
            propose_again_after: PROPOSE_AGAIN_AFTER,
            withdraw_after: WITHDRAW_AFTER,
            lag_timeout: LAG_TIMEOUT,
            lost_timeout: LOST_TIMEOUT,
            caught_up_within: CAUGHT_UP_WITHIN,
            record_commit_every: RECORD_COMMIT_EVERY,
            remember_for: REMEMBER_FOR,
            remember_min: REMEMBER_MIN,
            pin_entries_max: PIN_ENTRIES_MAX,
            history_max: HISTORY_MAX,
            #[cfg(feature = "mutants")]
            mutant: None,
        }
    }
}

/// Which rule settings break. Correct the settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SettingsError {
    /// A limit of zero would stop the replica.
    #[error("{0} must be greater than zero")]
    Zero(&'static str),
    /// The two stand in the wrong order.
    #[error("{0} must be greater than {1}")]
    Order(&'static str, &'static str),
}

impl Settings {
    /// The settings, if they make sense together.
    ///
    /// # Errors
    /// Names the first rule that is broken.
    pub fn validated(self) -> Result<Self, SettingsError> {
        let limits = [
            ("waiting_max", self.waiting_max),
            ("uncommitted_max", self.uncommitted_max),
            ("uncommitted_bytes_max", self.uncommitted_bytes_max),
            ("tail_bytes_max", self.tail_bytes_max),
            ("window_bytes_max", self.window_bytes_max),
            ("append_bytes_max", self.append_bytes_max),
            ("apply_entries_max", self.apply_entries_max),
            ("read_log_bytes_max", self.read_log_bytes_max),
            ("history_max", self.history_max),
        ];
        let times = [
            ("commit_idle_after", self.commit_idle_after),
            ("resend_after", self.resend_after),
            ("confirm_after", self.confirm_after),
            ("propose_again_after", self.propose_again_after),
            ("lag_timeout", self.lag_timeout),
            ("lost_timeout", self.lost_timeout),
            ("caught_up_within", self.caught_up_within),
        ];
        let zero = limits
            .iter()
            .find(|limit| limit.1 == 0)
            .map(|limit| limit.0);
        let zero = zero.or_else(|| times.iter().find(|t| t.1.is_zero()).map(|t| t.0));
        if let Some(name) = zero {
            return Err(SettingsError::Zero(name));
        }
        if self.confirm_give_up_after <= self.confirm_after {
            return Err(SettingsError::Order(
                "confirm_give_up_after",
                "confirm_after",
            ));
        }
        if self.lag_timeout <= self.caught_up_within {
            return Err(SettingsError::Order("lag_timeout", "caught_up_within"));
        }
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_valid_and_a_limit_of_zero_is_named() {
        assert_eq!(Settings::default().validated(), Ok(Settings::default()));
        let broken = Settings {
            tail_bytes_max: 0,
            ..Settings::default()
        };
        assert_eq!(
            broken.validated(),
            Err(SettingsError::Zero("tail_bytes_max"))
        );
        let broken = Settings {
            lag_timeout: CAUGHT_UP_WITHIN,
            ..Settings::default()
        };
        assert!(broken.validated().is_err());
    }
}
