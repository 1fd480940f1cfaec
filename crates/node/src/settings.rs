//! What an operator can set on a node, with every default as a named constant.
//!
//! Knows nothing of where a value came from (flag, environment or file): that is the command
//! line's business.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use tablestore_owned::{BucketSettings, OwnedSettings};

/// Requests that may wait for a failover on one node; above it they are refused at once.
pub const WAITING_MAX: usize = tablestore_dataplane::settings::WAITING_MAX;
/// How long writes to a partition on shared storage are gathered before they are flushed together:
/// on local disks a flush takes about this long.
pub const SHARED_FLUSH: Duration = Duration::from_millis(1);
/// The same for a bucket, where a flush takes longer and each costs money.
pub const BUCKET_FLUSH: Duration = Duration::from_millis(100);
/// The region of a bucket, which services that have none take as well.
pub const BUCKET_REGION: &str = "us-east-1";
/// How often the controller asks every node for a sign of work.
pub const HEARTBEAT_EVERY: Duration = Duration::from_millis(100);
/// A replica missing for longer than this is replaced on another node.
pub const REREPLICATE_AFTER: Duration = tablestore_controller::REREPLICATE_AFTER;
/// How long a new controller waits for reports before it picks primaries on a cold start.
pub const COLD_START_WAIT: Duration = Duration::from_secs(3);
/// How often checksums of every partition are compared across its replicas.
pub const CHECKSUM_EVERY: Duration = Duration::from_secs(600);
/// Size of a journal segment in bytes.
pub const SEGMENT_BYTES: u64 = 64 << 20;
/// Journal segments kept at most before rows are flushed to free the oldest.
pub const SEGMENTS_MAX: usize = 8;
/// Positions in a segment have 32 bits.
const SEGMENT_BYTES_RANGE: std::ops::RangeInclusive<u64> = 1 << 20..=1 << 30;
/// One is written, one is prepared, and the others are what replicas catch up from.
const SEGMENTS_RANGE: std::ops::RangeInclusive<usize> = 3..=1024;
/// Bytes of unflushed rows on a node above which the largest partition is flushed.
pub const UNFLUSHED_BYTES_MAX: u64 = 32 << 20;
/// Voters of the raft group at most; all other members are learners.
pub const VOTERS_MAX: usize = tablestore_controller::VOTERS_MAX;

/// Bytes of large bodies and answers that a node holds for all its clients together.
pub const CLIENT_MEMORY_BYTES: usize = crate::http::settings::MEMORY_BYTES_MAX;
/// The largest batch must fit, once as it is read.
const CLIENT_MEMORY_BYTES_MIN: usize = 32 << 20;

/// All settings of one node.
#[derive(Debug, Clone)]
pub struct NodeSettings {
    /// Name for people; unique among live members.
    pub name: String,
    /// Everything the node stores.
    pub data_dir: PathBuf,
    /// Where the rows of tables of the strategy `partition` are: a directory that all members see.
    /// Without it the node has no part in such tables.
    pub shared_dir: Option<PathBuf>,
    /// The same, as a bucket of an S3-compatible service; only one of the two.
    pub shared_bucket: Option<BucketSettings>,
    /// See [`SHARED_FLUSH`] and [`BUCKET_FLUSH`].
    pub shared_flush: Duration,
    /// Address of the HTTP surface.
    pub listen: SocketAddr,
    /// Address for the other nodes.
    pub peer_listen: SocketAddr,
    /// Peer or HTTP addresses of members of the cluster to join; empty founds a new one.
    pub join: Vec<String>,
    /// `region/zone`, or empty.
    pub zone: String,
    /// Share of data relative to other nodes; 0 holds none.
    pub weight: u32,
    /// See [`VOTERS_MAX`].
    pub voters_max: usize,
    /// Found a new cluster although other nodes remember this address.
    pub new_cluster: bool,
    /// Listen beyond loopback without credentials.
    pub insecure: bool,
    /// Names under which clients may ask the node, beside its addresses and names without a dot.
    pub allowed_hosts: Vec<String>,
    /// See [`CLIENT_MEMORY_BYTES`].
    pub client_memory_bytes: usize,
    /// Drop replicas that an earlier start stopped, and build them anew from their primaries.
    pub rebuild_stopped: bool,
    /// See [`HEARTBEAT_EVERY`].
    pub heartbeat_every: Duration,
    /// See [`REREPLICATE_AFTER`].
    pub rereplicate_after: Duration,
    /// See [`COLD_START_WAIT`].
    pub cold_start_wait: Duration,
    /// See [`CHECKSUM_EVERY`].
    pub checksum_every: Duration,
    /// See [`SEGMENT_BYTES`].
    pub segment_bytes: u64,
    /// See [`SEGMENTS_MAX`].
    pub segments_max: usize,
    /// See [`UNFLUSHED_BYTES_MAX`].
    pub unflushed_bytes_max: u64,
    /// See [`WAITING_MAX`].
    pub waiting_max: usize,
}

/// Why settings were refused; nothing was started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SettingsError {
    /// Listening beyond loopback needs credentials or `--insecure`.
    #[error(
        "{field}: {address} is reachable from other machines and the node has no credentials; \
         listen on a loopback address or pass --insecure"
    )]
    Insecure {
        /// Which setting.
        field: &'static str,
        /// Its value.
        address: SocketAddr,
    },
    /// A value is out of its range.
    #[error("{field}: expected {expected}, got {got}")]
    Invalid {
        /// Which setting.
        field: &'static str,
        /// What would be right.
        expected: &'static str,
        /// What was given.
        got: String,
    },
    /// The limits of the data plane do not fit each other.
    #[error(transparent)]
    DataPlane(#[from] tablestore_dataplane::SettingsError),
}

impl NodeSettings {
    /// What of it concerns the data plane.
    pub(crate) fn of_data_plane(&self) -> tablestore_dataplane::Settings {
        tablestore_dataplane::Settings {
            waiting_max: self.waiting_max,
            checksum_every: self.checksum_every,
            unflushed_bytes_max: self.unflushed_bytes_max,
            rebuild_stopped: self.rebuild_stopped,
            ..tablestore_dataplane::Settings::default()
        }
    }

    /// What of it concerns partitions on shared storage.
    pub(crate) fn of_partitions(&self) -> OwnedSettings {
        let settings = match self.shared_bucket {
            Some(_) => OwnedSettings::in_bucket(),
            None => OwnedSettings::default(),
        };
        OwnedSettings {
            gather_for: self.shared_flush,
            ..settings
        }
    }

    /// Settings of a single node in `data_dir`, with every default.
    #[must_use]
    pub fn new(name: &str, data_dir: PathBuf, listen: SocketAddr, peer_listen: SocketAddr) -> Self {
        Self {
            name: name.to_owned(),
            data_dir,
            shared_dir: None,
            shared_bucket: None,
            shared_flush: SHARED_FLUSH,
            listen,
            peer_listen,
            join: Vec::new(),
            zone: String::new(),
            weight: 1,
            voters_max: VOTERS_MAX,
            new_cluster: false,
            insecure: false,
            allowed_hosts: Vec::new(),
            client_memory_bytes: CLIENT_MEMORY_BYTES,
            rebuild_stopped: false,
            heartbeat_every: HEARTBEAT_EVERY,
            rereplicate_after: REREPLICATE_AFTER,
            cold_start_wait: COLD_START_WAIT,
            checksum_every: CHECKSUM_EVERY,
            segment_bytes: SEGMENT_BYTES,
            segments_max: SEGMENTS_MAX,
            unflushed_bytes_max: UNFLUSHED_BYTES_MAX,
            waiting_max: WAITING_MAX,
        }
    }

    /// Checks what can be checked without touching the machine.
    ///
    /// # Errors
    /// Names the field and what was expected.
    pub fn validate(&self) -> Result<(), SettingsError> {
        for (field, address) in [("listen", self.listen), ("peer-listen", self.peer_listen)] {
            if !address.ip().is_loopback() && !self.insecure {
                return Err(SettingsError::Insecure { field, address });
            }
        }
        let name_fits = (1..=255).contains(&self.name.len())
            && self
                .name
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b));
        if !name_fits {
            return Err(SettingsError::Invalid {
                field: "name",
                expected: "1 to 255 characters of a-z, A-Z, 0-9, '_', '.', '-'",
                got: self.name.clone(),
            });
        }
        if let (Some(path), Some(_)) = (&self.shared_dir, &self.shared_bucket) {
            return Err(SettingsError::Invalid {
                field: "shared-dir",
                expected: "nothing, as shared-url is given",
                got: path.display().to_string(),
            });
        }
        if !SEGMENT_BYTES_RANGE.contains(&self.segment_bytes) {
            return Err(SettingsError::Invalid {
                field: "journal-segment-mib",
                expected: "1 to 1024",
                got: (self.segment_bytes >> 20).to_string(),
            });
        }
        if !SEGMENTS_RANGE.contains(&self.segments_max) {
            return Err(SettingsError::Invalid {
                field: "journal-segments",
                expected: "3 to 1024",
                got: self.segments_max.to_string(),
            });
        }
        if self.client_memory_bytes < CLIENT_MEMORY_BYTES_MIN {
            return Err(SettingsError::Invalid {
                field: "client-memory-mib",
                expected: "at least 32",
                got: (self.client_memory_bytes >> 20).to_string(),
            });
        }
        if self.voters_max == 0 {
            return Err(SettingsError::Invalid {
                field: "voters",
                expected: "at least 1",
                got: "0".to_owned(),
            });
        }
        self.of_data_plane().validated()?;
        Ok(())
    }
}
