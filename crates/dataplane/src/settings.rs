//! The limits and times of a data plane, each with its reason. Knows nothing of how they are used.

use std::time::Duration;

/// Requests that may wait on one node; above it they are refused at once.
pub const WAITING_MAX: usize = 10_000;
/// Bytes of waiting requests on one node; above it they are refused at once.
pub const WAITING_BYTES_MAX: usize = 64 << 20;
/// A forwarded request may stay with the other node for this long; its sender has its own deadline.
pub const FORWARDED_FOR_MAX: Duration = Duration::from_secs(60);
/// Requests that wait for a primary are tried again this often, whatever happens meanwhile.
pub const AGAIN_EVERY: Duration = Duration::from_millis(10);
/// Bytes of rows in one page of a scan.
pub const PAGE_BYTES_MAX: usize = 2 << 20;
/// How often checksums of every partition are compared across its replicas.
pub const CHECKSUM_EVERY: Duration = Duration::from_secs(600);
/// A comparison that is not complete after this long is answered as it is.
pub const COMPARE_WITHIN: Duration = Duration::from_secs(5);
/// Bytes of unflushed rows on a node above which the largest partition is flushed.
pub const UNFLUSHED_BYTES_MAX: u64 = 32 << 20;
/// How often memory and the journal's size are looked at.
pub const UPKEEP_EVERY: Duration = Duration::from_millis(500);
/// A frame is closed when it has this much.
pub const FRAME_BYTES: usize = 1 << 20;
/// One message is at most this long: the largest holds a page of rows. A longer one is not sent,
/// and one that comes is of a broken peer.
pub const MESSAGE_BYTES_MAX: usize = 4 << 20;
/// Frames are cut to this by who sends them, and refused beyond it by who reads them.
pub const FRAME_BYTES_MAX: usize = 6 << 20;
/// From so many bytes on their way to a peer on, replicas hold entries for it back: what a
/// connection of 1 Gbit/s carries in 64 ms.
pub const CROWDED_BYTES: usize = 8 << 20;
/// With so many bytes waiting the peer does not take them: its connection is closed.
pub const LINK_BYTES_MAX: usize = 64 << 20;
/// A peer that answers nothing for so long is not about to be replaced: the way to it is broken.
pub const BROKEN_AFTER: Duration = Duration::from_millis(100);
/// Copies that one node sends at once; copying yields to requests.
pub const SENDING_MAX: usize = 2;
/// Copies that one node receives at once: from four others, as many as each sends.
pub const RECEIVING_MAX: usize = 4 * SENDING_MAX;
/// Bytes of rows in one chunk of a copy.
pub const CHUNK_BYTES: usize = 256 << 10;
/// Rows in one chunk of a copy.
pub const CHUNK_ROWS: usize = 4_096;
/// Chunks on the way before the first must be acknowledged.
pub const WINDOW_CHUNKS: u64 = 4;
/// A receiver that acknowledges nothing for this long while something is on the way is given up:
/// storing a chunk takes milliseconds, and a busy disk seconds.
pub const ACK_WITHIN: Duration = Duration::from_secs(10);
/// A sender from which nothing comes for this long is given up: longer than it waits for an
/// acknowledgement, so that it is the first to say so.
pub const CHUNK_WITHIN: Duration = Duration::from_secs(30);
/// Remembered results in one side record: small enough to travel in a chunk with others.
pub const RESULTS_A_PIECE: usize = 1_000;
/// The size of a remembered result in a side record: its request, digest, index, time, code and
/// version.
pub const RESULT_BYTES: usize = 16 + 8 + 8 + 8 + 2 + 8;
/// Bytes of the ends of all logs that stay in memory; each replica has its share.
pub const TAILS_BYTES_MAX: usize = 32 << 20;
/// What a replica has of them in any case: a few appends.
pub const TAIL_BYTES_MIN: usize = 64 << 10;
/// How long a write waits for its office to move where there is room.
pub const ROOM_COMES_WITHIN: Duration = Duration::from_secs(2);
/// Jobs that the lane for reads is given at once.
pub const READS_MAX: usize = 1_024;
/// Jobs that the lane for housekeeping is given at once.
pub const UPKEEP_MAX: usize = 4_096;
/// Jobs that the lane for copies is given at once: far more than there are copies.
pub const COPIES_MAX: usize = 64;

/// The limits and times of a data plane.
#[derive(Clone, Debug)]
pub struct Settings {
    /// See [`WAITING_MAX`].
    pub waiting_max: usize,
    /// See [`WAITING_BYTES_MAX`].
    pub waiting_bytes_max: usize,
    /// See [`FORWARDED_FOR_MAX`].
    pub forwarded_for_max: Duration,
    /// See [`AGAIN_EVERY`].
    pub again_every: Duration,
    /// See [`PAGE_BYTES_MAX`].
    pub page_bytes_max: usize,
    /// See [`CHECKSUM_EVERY`].
    pub checksum_every: Duration,
    /// See [`COMPARE_WITHIN`].
    pub compare_within: Duration,
    /// See [`UNFLUSHED_BYTES_MAX`].
    pub unflushed_bytes_max: u64,
    /// See [`UPKEEP_EVERY`].
    pub upkeep_every: Duration,
    /// See [`FRAME_BYTES`].
    pub frame_bytes: usize,
    /// See [`MESSAGE_BYTES_MAX`].
    pub message_bytes_max: usize,
    /// See [`CROWDED_BYTES`].
    pub crowded_bytes: usize,
    /// See [`LINK_BYTES_MAX`].
    pub link_bytes_max: usize,
    /// See [`BROKEN_AFTER`].
    pub broken_after: Duration,
    /// See [`SENDING_MAX`].
    pub sending_max: usize,
    /// See [`RECEIVING_MAX`].
    pub receiving_max: usize,
    /// See [`CHUNK_BYTES`].
    pub chunk_bytes: usize,
    /// See [`CHUNK_ROWS`].
    pub chunk_rows: usize,
    /// See [`WINDOW_CHUNKS`].
    pub window_chunks: u64,
    /// See [`ACK_WITHIN`].
    pub ack_within: Duration,
    /// See [`CHUNK_WITHIN`].
    pub chunk_within: Duration,
    /// See [`RESULTS_A_PIECE`].
    pub results_a_piece: usize,
    /// See [`TAILS_BYTES_MAX`].
    pub tails_bytes_max: usize,
    /// See [`TAIL_BYTES_MIN`].
    pub tail_bytes_min: usize,
    /// See [`ROOM_COMES_WITHIN`].
    pub room_comes_within: Duration,
    /// See [`READS_MAX`].
    pub reads_max: usize,
    /// See [`UPKEEP_MAX`].
    pub upkeep_max: usize,
    /// See [`COPIES_MAX`].
    pub copies_max: usize,
    /// Drop replicas that an earlier start stopped, and build them anew from their primaries.
    pub rebuild_stopped: bool,
    /// Of the coordinator and of each replica of active tables.
    pub active: tablestore_replication::active::Settings,
    /// Of each replica.
    pub replica: tablestore_replication::Settings,
    /// The deliberate fault, if any.
    #[cfg(feature = "mutants")]
    pub mutant: Option<crate::mutant::Mutant>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            waiting_max: WAITING_MAX,
            waiting_bytes_max: WAITING_BYTES_MAX,
            forwarded_for_max: FORWARDED_FOR_MAX,
            again_every: AGAIN_EVERY,
            page_bytes_max: PAGE_BYTES_MAX,
            checksum_every: CHECKSUM_EVERY,
            compare_within: COMPARE_WITHIN,
            unflushed_bytes_max: UNFLUSHED_BYTES_MAX,
            upkeep_every: UPKEEP_EVERY,
            frame_bytes: FRAME_BYTES,
            message_bytes_max: MESSAGE_BYTES_MAX,
            crowded_bytes: CROWDED_BYTES,
            link_bytes_max: LINK_BYTES_MAX,
            broken_after: BROKEN_AFTER,
            sending_max: SENDING_MAX,
            receiving_max: RECEIVING_MAX,
            chunk_bytes: CHUNK_BYTES,
            chunk_rows: CHUNK_ROWS,
            window_chunks: WINDOW_CHUNKS,
            ack_within: ACK_WITHIN,
            chunk_within: CHUNK_WITHIN,
            results_a_piece: RESULTS_A_PIECE,
            tails_bytes_max: TAILS_BYTES_MAX,
            tail_bytes_min: TAIL_BYTES_MIN,
            room_comes_within: ROOM_COMES_WITHIN,
            reads_max: READS_MAX,
            upkeep_max: UPKEEP_MAX,
            copies_max: COPIES_MAX,
            rebuild_stopped: false,
            active: tablestore_replication::active::Settings {
                requests_max: WAITING_MAX,
                ..tablestore_replication::active::Settings::default()
            },
            replica: tablestore_replication::Settings::default(),
            #[cfg(feature = "mutants")]
            mutant: None,
        }
    }
}

/// Which rule settings break. Correct the settings; nothing was begun with them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SettingsError {
    /// With a limit of zero the node would do nothing.
    #[error("{0} must be greater than zero")]
    Zero(&'static str),
    /// What is sent would be more than its way takes, again after each new connection.
    #[error("{what} ({bytes} bytes) must be at most {limit} ({limit_bytes} bytes)")]
    TooLarge {
        /// The setting, or the sum of those that add up.
        what: &'static str,
        /// What it comes to.
        bytes: usize,
        /// The setting that it must fit in.
        limit: &'static str,
        /// What that allows.
        limit_bytes: usize,
    },
    /// Those of a replica.
    #[error("replica: {0}")]
    Replica(#[from] tablestore_replication::SettingsError),
}

impl Settings {
    /// What may be on the way to a peer when replicas begin to hold entries back, the window and
    /// message that they have just sent included: a link that takes less is closed again and again.
    #[must_use]
    pub fn on_the_way_max(&self) -> usize {
        let window_chunks = usize::try_from(self.window_chunks).unwrap_or(usize::MAX);
        let a_copy = self.chunk_bytes.saturating_mul(window_chunks);
        self.crowded_bytes
            .saturating_add(self.replica.window_bytes_max)
            .saturating_add(self.message_bytes_max)
            .saturating_add(a_copy.saturating_mul(self.sending_max))
    }

    /// The settings, if they make sense together.
    ///
    /// # Errors
    /// Names the first rule that is broken.
    pub fn validated(self) -> Result<Self, SettingsError> {
        self.replica.validated()?;
        self.active.validated()?;
        let limits = [
            ("waiting_max", self.waiting_max),
            ("waiting_bytes_max", self.waiting_bytes_max),
            ("page_bytes_max", self.page_bytes_max),
            ("frame_bytes", self.frame_bytes),
            ("message_bytes_max", self.message_bytes_max),
            ("crowded_bytes", self.crowded_bytes),
            ("sending_max", self.sending_max),
            ("receiving_max", self.receiving_max),
            ("chunk_bytes", self.chunk_bytes),
            ("chunk_rows", self.chunk_rows),
            ("window_chunks", usize::from(self.window_chunks > 0)),
            ("results_a_piece", self.results_a_piece),
            ("reads_max", self.reads_max),
            ("upkeep_max", self.upkeep_max),
            ("copies_max", self.copies_max),
        ];
        if let Some((name, _)) = limits.iter().find(|(_, limit)| *limit == 0) {
            return Err(SettingsError::Zero(name));
        }
        let message = ("message_bytes_max", self.message_bytes_max);
        let link = ("link_bytes_max", self.link_bytes_max);
        let replica = &self.replica;
        let fits = [
            ("page_bytes_max", self.page_bytes_max, message),
            (
                "chunk_bytes + the bytes of results_a_piece",
                self.chunk_bytes
                    .saturating_add(self.results_a_piece.saturating_mul(RESULT_BYTES)),
                message,
            ),
            ("append_bytes_max", replica.append_bytes_max, message),
            ("read_log_bytes_max", replica.read_log_bytes_max, message),
            (
                "crowded_bytes + window_bytes_max + message_bytes_max + all chunks of copies",
                self.on_the_way_max(),
                link,
            ),
        ];
        let broken = fits.iter().find(|(_, bytes, limit)| *bytes > limit.1);
        match broken {
            None => Ok(self),
            Some((what, bytes, (limit, limit_bytes))) => Err(SettingsError::TooLarge {
                what,
                bytes: *bytes,
                limit,
                limit_bytes: *limit_bytes,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_valid() {
        assert!(Settings::default().validated().is_ok());
    }

    #[test]
    fn a_link_that_is_closed_before_anything_is_held_back_is_refused() {
        let broken = Settings {
            link_bytes_max: CROWDED_BYTES,
            ..Settings::default()
        };
        let refused = broken.validated().expect_err("a link takes more than it");
        let limit = "must be at most link_bytes_max (8388608 bytes)";
        assert!(refused.to_string().ends_with(limit), "{refused}");
    }

    #[test]
    fn what_is_read_for_one_message_must_fit_into_it() {
        let mut broken = Settings::default();
        broken.replica.read_log_bytes_max = MESSAGE_BYTES_MAX + 1;
        let refused = broken.validated().expect_err("no message takes that");
        assert!(refused.to_string().starts_with("read_log_bytes_max"));
    }

    #[test]
    fn a_side_record_must_fit_into_a_message_behind_a_chunk_that_is_almost_full() {
        let broken = Settings {
            results_a_piece: MESSAGE_BYTES_MAX / RESULT_BYTES,
            ..Settings::default()
        };
        let refused = broken.validated().expect_err("the copy would never end");
        assert!(refused.to_string().contains("results_a_piece"), "{refused}");
    }

    #[test]
    fn a_limit_of_zero_is_named_also_of_a_replica() {
        let broken = Settings {
            copies_max: 0,
            ..Settings::default()
        };
        let refused = broken.validated().expect_err("nothing would be copied");
        assert_eq!(refused, SettingsError::Zero("copies_max"));
        let mut broken = Settings::default();
        broken.replica.append_bytes_max = 0;
        let refused = broken.validated().expect_err("nothing would be sent");
        assert_eq!(
            refused.to_string(),
            "replica: append_bytes_max must be greater than zero"
        );
    }
}
