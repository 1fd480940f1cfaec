//! The map as one file beside the raft log, up to some entry. Knows nothing of when one is
//! taken.

use std::io;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tablestore_placement::ClusterMap;
use tablestore_store::maplog::EntryId;
use tablestore_store::testing::{Disk, SimDisk};

use super::members::Members;

const FILE: &str = "map.snapshot";
const CHECKSUM_BYTES: usize = 4;

/// A snapshot.
#[derive(Clone, Debug)]
pub(super) struct Image {
    /// The last entry that it has.
    pub(super) last: EntryId,
    pub(super) members: Arc<Members>,
    pub(super) map: Arc<ClusterMap>,
}

#[derive(Serialize, Deserialize)]
struct Form<M, G> {
    last: EntryId,
    members: G,
    map: M,
}

impl Image {
    /// Writes it in the place of the one before; durable when the disk has settled.
    pub(super) fn write(&self, disk: &SimDisk) -> io::Result<()> {
        let form = Form {
            last: self.last,
            members: &*self.members,
            map: &*self.map,
        };
        let body = rmp_serde::to_vec_named(&form).map_err(io::Error::other)?;
        let mut bytes = crc32c::crc32c(&body).to_le_bytes().to_vec();
        bytes.extend_from_slice(&body);
        disk.write_small(FILE, &bytes)
    }

    /// The one that is there, if one is.
    pub(super) fn read(disk: &SimDisk) -> Result<Option<Self>, String> {
        let stored = disk.read_small(FILE).map_err(|error| error.to_string())?;
        let Some(stored) = stored else {
            return Ok(None);
        };
        let damaged = || format!("{FILE} is damaged");
        let (sum, body) = stored
            .split_at_checked(CHECKSUM_BYTES)
            .ok_or_else(damaged)?;
        if sum != crc32c::crc32c(body).to_le_bytes() {
            return Err(damaged());
        }
        let form: Form<ClusterMap, Members> = rmp_serde::from_slice(body).map_err(|_| damaged())?;
        Ok(Some(Self {
            last: form.last,
            members: Arc::new(form.members),
            map: Arc::new(form.map),
        }))
    }
}
