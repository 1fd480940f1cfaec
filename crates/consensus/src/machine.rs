//! The state machine of consensus: the cluster map and its snapshot file.
//!
//! The map lives in memory; every batch of applied entries publishes a new one. It is rebuilt at
//! start from the snapshot file and the entries known to be committed, so that a node has a usable
//! map even when nobody else answers. Knows nothing of the network.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::{Stream, TryStreamExt};
use openraft::storage::EntryResponder;
use openraft::vote::RaftLeaderId;
use openraft::{EntryPayload, OptionalSend, RaftSnapshotBuilder};
use serde::{Deserialize, Serialize};
use tablestore_placement::{ClusterMap, MAP_FORMAT};
use tokio::sync::watch;

use super::log::REMEDY;
use super::types::{EntryAnswer, LogId, Snapshot, SnapshotMeta, StoredMembership, TypeConfig};

/// The name of the snapshot file in the control directory.
const SNAPSHOT_FILE: &str = "map.snapshot";
const MAGIC: &[u8; 8] = b"TSMAPSNP";
const SNAPSHOT_FORMAT: u32 = 1;
/// Magic, format, crc32c of format and body.
const HEADER_BYTES: usize = 16;

/// Why the snapshot of the cluster map could not be read. Nothing was changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SnapshotError {
    /// The file system refused something; see the source. Correct it and start again.
    #[error("cannot read the cluster map {}", file.display())]
    Io {
        /// The file.
        file: PathBuf,
        /// What the file system said.
        #[source]
        source: io::Error,
    },
    /// A newer version wrote the map. Start that version.
    #[error("the cluster map in {file} has format {found}, this version knows up to {supported}")]
    NewerFormat {
        /// Where it came from.
        file: String,
        /// Its format.
        found: u32,
        /// The newest format that this version reads.
        supported: u32,
    },
    /// The file is damaged. Give the node a new data directory.
    #[error("the cluster map in {file} is damaged: {what}; {REMEDY}")]
    Corrupt {
        /// Where it came from.
        file: String,
        /// What is wrong.
        what: String,
    },
    /// The snapshot is not there, or an older one: the log beside it has no longer what is
    /// missing. Give the node a new data directory.
    #[error("{} {found}, but raft.log beside it {log} {index}; {REMEDY}", file.display())]
    Behind {
        /// The snapshot's file.
        file: PathBuf,
        /// What is there of it.
        found: String,
        /// What the log says.
        log: &'static str,
        /// The entry that the log speaks of.
        index: u64,
    },
}

/// What a snapshot holds.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Contents {
    meta: SnapshotMeta,
    map: ClusterMap,
}

/// The index of the newest snapshot that was written, if one was since the start. A snapshot is
/// built beside the state machine while another may be installed: they write one after the other,
/// and an older one never replaces a newer.
type Writing = Arc<Mutex<Option<u64>>>;

/// The state machine.
#[derive(Debug)]
pub(crate) struct Machine {
    file: PathBuf,
    /// There was a snapshot when it was opened.
    stored: bool,
    /// What the file holds; its holder is the only one who writes it.
    writing: Writing,
    map: Arc<ClusterMap>,
    last_applied: Option<LogId>,
    membership: StoredMembership,
    published: watch::Sender<Arc<ClusterMap>>,
}

impl Machine {
    /// Opens the snapshot in `directory`, or begins with the empty map.
    pub(crate) fn open(
        directory: &Path,
    ) -> Result<(Self, watch::Receiver<Arc<ClusterMap>>), SnapshotError> {
        let file = directory.join(SNAPSHOT_FILE);
        let stored = match fs::read(&file) {
            Ok(bytes) => Some(bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(source) => return Err(SnapshotError::Io { file, source }),
        };
        let contents = match &stored {
            Some(bytes) => decode(&file.display().to_string(), bytes)?,
            None => Contents {
                meta: SnapshotMeta::default(),
                map: ClusterMap::empty(),
            },
        };
        let map = Arc::new(contents.map);
        let (published, receiver) = watch::channel(Arc::clone(&map));
        let machine = Self {
            file,
            map,
            stored: stored.is_some(),
            writing: Arc::default(),
            last_applied: contents.meta.last_log_id,
            membership: contents.meta.last_membership,
            published,
        };
        Ok((machine, receiver))
    }

    /// Whether there was a snapshot file.
    pub(super) fn is_stored(&self) -> bool {
        self.stored
    }

    /// The last entry that the snapshot has.
    pub(super) fn reached(&self) -> Option<u64> {
        self.last_applied.map(|last| last.index)
    }

    /// Refuses a snapshot that does not reach the entry up to which the log relies on it.
    pub(super) fn check_reach(
        &self,
        log: &'static str,
        needed: Option<u64>,
    ) -> Result<(), SnapshotError> {
        let reached = self.reached();
        let Some(index) = needed.filter(|needed| reached.is_none_or(|last| last < *needed)) else {
            return Ok(());
        };
        let found = match reached {
            Some(last) => format!("ends at entry {last}"),
            None if self.stored => "holds no entry".to_owned(),
            None => "is missing".to_owned(),
        };
        let file = self.file.clone();
        Err(SnapshotError::Behind {
            file,
            found,
            log,
            index,
        })
    }

    fn publish(&self) {
        self.published.send_replace(Arc::clone(&self.map));
    }
}

impl openraft::storage::RaftStateMachine<TypeConfig> for Machine {
    type SnapshotData = Vec<u8>;
    type SnapshotBuilder = Builder;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, StoredMembership), io::Error> {
        Ok((self.last_applied, self.membership.clone()))
    }

    async fn apply<Strm>(&mut self, mut entries: Strm) -> Result<(), io::Error>
    where
        Strm: Stream<Item = Result<EntryResponder<TypeConfig>, io::Error>> + Unpin + OptionalSend,
    {
        // One copy for the whole batch; readers keep the old map.
        let mut next: Option<ClusterMap> = None;
        let mut waiting = Vec::new();
        while let Some((entry, responder)) = entries.try_next().await? {
            self.last_applied = Some(entry.log_id);
            let answer = match entry.payload {
                EntryPayload::Blank => EntryAnswer::Nothing,
                EntryPayload::Membership(membership) => {
                    self.membership = StoredMembership::new(Some(entry.log_id), membership);
                    EntryAnswer::Nothing
                }
                EntryPayload::Normal(proposal) => {
                    let map = next.get_or_insert_with(|| ClusterMap::clone(&self.map));
                    let term = entry.log_id.committed_leader_id().term();
                    EntryAnswer::Command(map.apply_in_term(term, &proposal.0))
                }
            };
            if let Some(responder) = responder {
                waiting.push((responder, answer));
            }
        }
        if let Some(map) = next {
            self.map = Arc::new(map);
            self.publish();
        }
        // After the publication: who is answered finds the change in the map.
        for (responder, answer) in waiting {
            responder.send(answer);
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> Self::SnapshotBuilder {
        let meta = SnapshotMeta {
            last_log_id: self.last_applied,
            last_membership: self.membership.clone(),
        };
        Builder {
            file: self.file.clone(),
            writing: Arc::clone(&self.writing),
            meta,
            map: Arc::clone(&self.map),
        }
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMeta,
        snapshot: Vec<u8>,
    ) -> Result<(), io::Error> {
        let contents =
            decode("a snapshot that was received", &snapshot).map_err(io::Error::other)?;
        let snapshot = Arc::new(snapshot);
        let last = meta.last_log_id.map(|id| id.index);
        write_aside(&self.writing, self.file.clone(), last, snapshot).await?;
        self.map = Arc::new(contents.map);
        self.last_applied = meta.last_log_id;
        self.membership = meta.last_membership.clone();
        self.publish();
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<Snapshot>, io::Error> {
        let file = self.file.clone();
        let stored = match fs::read(&file) {
            Ok(stored) => stored,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let contents = decode(&file.display().to_string(), &stored).map_err(io::Error::other)?;
        Ok(Some(Snapshot {
            meta: contents.meta,
            snapshot: stored,
        }))
    }
}

/// Writes a snapshot of one moment beside the state machine.
#[derive(Debug)]
pub(crate) struct Builder {
    file: PathBuf,
    writing: Writing,
    meta: SnapshotMeta,
    map: Arc<ClusterMap>,
}

impl RaftSnapshotBuilder<TypeConfig> for Builder {
    type SnapshotData = Vec<u8>;

    async fn build_snapshot(&mut self) -> Result<Snapshot, io::Error> {
        let contents = Contents {
            meta: self.meta.clone(),
            map: ClusterMap::clone(&self.map),
        };
        let bytes = Arc::new(encode(&contents)?);
        let last = self.meta.last_log_id.map(|id| id.index);
        let file = self.file.clone();
        write_aside(&self.writing, file, last, Arc::clone(&bytes)).await?;
        Ok(Snapshot {
            meta: self.meta.clone(),
            snapshot: Arc::unwrap_or_clone(bytes),
        })
    }
}

/// The bytes of a snapshot with this map.
pub(super) fn snapshot(meta: &SnapshotMeta, map: ClusterMap) -> io::Result<Vec<u8>> {
    let meta = meta.clone();
    encode(&Contents { meta, map })
}

fn encode(contents: &Contents) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; HEADER_BYTES];
    rmp_serde::encode::write_named(&mut bytes, contents).map_err(io::Error::other)?;
    bytes[..8].copy_from_slice(MAGIC);
    bytes[8..12].copy_from_slice(&SNAPSHOT_FORMAT.to_le_bytes());
    let crc = checksum(&bytes[8..12], &bytes[HEADER_BYTES..]);
    bytes[12..16].copy_from_slice(&crc.to_le_bytes());
    Ok(bytes)
}

fn checksum(format: &[u8], body: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(format), body)
}

fn decode(origin: &str, bytes: &[u8]) -> Result<Contents, SnapshotError> {
    let corrupt = |what: &str| SnapshotError::Corrupt {
        file: origin.to_owned(),
        what: what.to_owned(),
    };
    let newer = |found, supported| SnapshotError::NewerFormat {
        file: origin.to_owned(),
        found,
        supported,
    };
    let Some((header, body)) = bytes.split_at_checked(HEADER_BYTES) else {
        return Err(corrupt("it is too short"));
    };
    let word = |at: usize| {
        let part = header[at..at + 4]
            .try_into()
            .expect("the header has 16 bytes");
        u32::from_le_bytes(part)
    };
    if &header[..8] != MAGIC {
        return Err(corrupt("it is not a snapshot"));
    }
    if word(8) > SNAPSHOT_FORMAT {
        return Err(newer(word(8), SNAPSHOT_FORMAT));
    }
    if word(12) != checksum(&header[8..12], body) {
        return Err(corrupt("its checksum does not match"));
    }
    let contents: Contents =
        rmp_serde::from_slice(body).map_err(|error| corrupt(&error.to_string()))?;
    if contents.map.format > MAP_FORMAT {
        return Err(newer(contents.map.format, MAP_FORMAT));
    }
    Ok(contents)
}

/// Replaces the file atomically and durably, off the thread that answers heartbeats.
/// Does nothing if a newer snapshot has been written meanwhile.
async fn write_aside(
    writing: &Writing,
    file: PathBuf,
    last: Option<u64>,
    bytes: Arc<Vec<u8>>,
) -> io::Result<()> {
    let writing = Arc::clone(writing);
    let write = move || -> io::Result<()> {
        let mut written = writing.lock().unwrap_or_else(PoisonError::into_inner);
        if *written > last {
            return Ok(());
        }
        let aside = file.with_extension("new");
        let mut new = File::create(&aside)?;
        new.write_all(&bytes)?;
        new.sync_all()?;
        fs::rename(&aside, &file)?;
        File::open(file.parent().unwrap_or_else(|| Path::new(".")))?.sync_all()?;
        *written = last;
        Ok(())
    };
    tokio::task::spawn_blocking(write)
        .await
        .map_err(io::Error::other)?
}

#[cfg(test)]
mod golden;
#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failure is the test's result")]
    use super::*;

    #[test]
    fn a_snapshot_of_a_newer_format_is_refused() {
        let mut contents = Contents::default();
        let mut file = encode(&contents).unwrap();
        file[8..12].copy_from_slice(&(SNAPSHOT_FORMAT + 1).to_le_bytes());
        let refused = decode("f", &file);
        assert!(
            matches!(refused, Err(SnapshotError::NewerFormat { .. })),
            "{refused:?}"
        );

        contents.map.format = MAP_FORMAT + 1;
        let refused = decode("f", &encode(&contents).unwrap());
        assert!(
            matches!(refused, Err(SnapshotError::NewerFormat { .. })),
            "{refused:?}"
        );
    }

    #[test]
    fn every_flipped_bit_of_a_snapshot_is_noticed() {
        let whole = encode(&Contents::default()).unwrap();
        for bit in 0..whole.len() * 8 {
            let mut damaged = whole.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(decode("f", &damaged).is_err(), "bit {bit}");
        }
    }
}
