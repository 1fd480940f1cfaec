//! What can be set on the agreement: delays, limits, and how often each thing goes wrong. Knows
//! nothing of how they are used.

use tablestore_store::maplog::LogSettings;

/// Times are in microseconds; a pair is a least and a greatest value.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// A message, one way.
    pub(crate) delay_us: (u64, u64),
    /// The leader shows itself this often.
    pub(crate) heartbeat_us: u64,
    /// No vote is given against a leader that was heard of within this.
    pub(crate) lease_us: u64,
    /// An election begins this much after the lease.
    pub(crate) election_us: (u64, u64),
    /// From knowing an entry as committed to applying it.
    pub(crate) apply_us: (u64, u64),
    /// The same in a burst, and how late things are that come late.
    pub(crate) late_us: (u64, u64),
    /// Between two attempts.
    pub(crate) pause_us: u64,
    /// A survivor that is not the best one waits this long and one step for each better one.
    pub(crate) second_chance_us: (u64, u64),
    /// How long a command waits for its answer.
    pub(crate) propose_within_us: u64,
    /// How long a decision waits.
    pub(crate) decide_within_us: u64,
    /// How long a read of the map waits.
    pub(crate) read_within_us: u64,
    /// Entries of one message.
    pub(crate) batch: usize,
    /// A snapshot is taken after this many entries.
    pub(crate) snapshot_every: u64,
    /// So many entries are kept behind a snapshot.
    pub(crate) kept: u64,
    /// Of the log's file.
    pub(crate) log: LogSettings,
    /// How often things go wrong.
    pub(crate) wrongs: Wrongs,
    /// A deliberate bug: a node starts with what is left of its log.
    pub(crate) accepts_shortened_log: bool,
    /// A deliberate bug: a decision says nothing of its term and map, and is forwarded.
    pub(crate) commits_decision_of_deposed_controller: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            delay_us: (100, 1_500),
            heartbeat_us: 50_000,
            lease_us: 300_000,
            election_us: (150_000, 300_000),
            apply_us: (10, 500),
            late_us: (50_000, 800_000),
            pause_us: 10_000,
            second_chance_us: (25_000, 10_000),
            propose_within_us: 10_000_000,
            decide_within_us: 2_000_000,
            read_within_us: 2_000_000,
            batch: 64,
            snapshot_every: 1_000,
            kept: 500,
            log: LogSettings {
                chunk_bytes: 16 << 10,
                rewrite_bytes: 64 << 10,
            },
            wrongs: Wrongs::default(),
            accepts_shortened_log: false,
            commits_decision_of_deposed_controller: false,
        }
    }
}

/// How many times out of a thousand each thing happens. None by default.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Wrongs {
    /// A command is committed and its answer lost.
    pub(crate) answer_lost: u64,
    /// A command is said to be of unknown outcome as soon as it is in a log.
    pub(crate) unknown_early: u64,
    /// A command is put into the log again some time later, as one that was retried.
    pub(crate) put_twice: u64,
    /// A read of the map hangs until its deadline.
    pub(crate) read_hangs: u64,
    /// A read of the map is answered late.
    pub(crate) read_late: u64,
    /// Nobody stands for election although it is time.
    pub(crate) nobody_stands: u64,
    /// A node stands for election that cannot win.
    pub(crate) vain_election: u64,
    /// A node applies much later, and then everything at once.
    pub(crate) burst: u64,
    /// A leader that leads no more is told so late.
    pub(crate) told_late: u64,
    /// A sync fails.
    pub(crate) sync_fails: u64,
}

impl Wrongs {
    /// All of them equally often.
    pub(crate) fn all(per_mille: u64) -> Self {
        Self {
            answer_lost: per_mille,
            unknown_early: per_mille,
            put_twice: per_mille,
            read_hangs: per_mille,
            read_late: per_mille,
            nobody_stands: per_mille,
            vain_election: per_mille,
            burst: per_mille,
            told_late: per_mille,
            sync_fails: per_mille,
        }
    }
}
