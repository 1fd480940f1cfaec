//! The start of a node: its files are read and held against each other as the real one does.
//! Knows nothing of what it does then.

use std::collections::BTreeMap;
use std::sync::Arc;

use tablestore_placement::{ClusterMap, Command};
use tablestore_store::maplog::{
    Entry, EntryKind, Expected, LogContents, LogFile, LogOpenError, MapLog,
};
use tablestore_store::testing::SimDisk;

use super::Settings;
use super::image::Image;
use super::members::Members;

pub(super) const LOG_FILE: &str = "raft.log";

/// The files of a node that starts.
pub(super) struct Opened {
    pub(super) file: LogFile,
    pub(super) log: MapLog,
    pub(super) image: Option<Image>,
    /// The map as it was last known to be committed, and up to which entry.
    pub(super) map: Arc<ClusterMap>,
    pub(super) applied: Option<u64>,
    pub(super) members: BTreeMap<u64, Arc<Members>>,
}

/// Why files are refused, in words.
struct Refusal(String);

impl From<LogOpenError> for Refusal {
    fn from(error: LogOpenError) -> Self {
        Self(error.to_string())
    }
}

/// Opens the files in a folder. With `has_run` they must be there.
pub(super) fn open(disk: &SimDisk, has_run: bool, settings: &Settings) -> Result<Opened, String> {
    let image = Image::read(disk)?;
    let expected = match has_run || image.is_some() {
        true => Expected::Surely,
        false => Expected::Perhaps,
    };
    let opened = open_log(disk, expected, image.as_ref(), settings);
    let (file, log) = match opened {
        Err(_) if settings.accepts_shortened_log => {
            disk.remove_file(LOG_FILE);
            open_log(disk, Expected::Perhaps, image.as_ref(), settings)?
        }
        opened => opened?,
    };
    let mut map = match &image {
        Some(image) => ClusterMap::clone(&image.map),
        None => ClusterMap::empty(),
    };
    let reached = image.as_ref().map(|image| image.last.index);
    for entry in log.committed_from(super::node::next_of(reached)) {
        let command = command(entry).ok_or("an entry cannot be read")?;
        // What the map refused when it was applied it refuses again.
        drop(map.apply_in_term(entry.id().term, &command));
    }
    let members = log.entries(..);
    let members = members.filter(|entry| entry.kind() == EntryKind::Membership);
    let members = members.map(|entry| {
        let read = rmp_serde::from_slice(entry.payload()).map_err(|error| error.to_string());
        Ok((entry.id().index, Arc::new(read?)))
    });
    let members = members.collect::<Result<_, String>>()?;
    let committed = log.committed().map(|committed| committed.index);
    Ok(Opened {
        file,
        log,
        image,
        map: Arc::new(map),
        applied: committed.max(reached),
        members,
    })
}

fn open_log(
    disk: &SimDisk,
    expected: Expected,
    image: Option<&Image>,
    settings: &Settings,
) -> Result<(LogFile, MapLog), String> {
    let place = disk.log_place(LOG_FILE);
    let reached = image.map(|image| image.last.index);
    let check = |log: &LogContents| {
        let needed = [
            ("begins behind entry", log.begins_behind()),
            ("was committed up to entry", log.committed_beyond()),
        ];
        for (what, needed) in needed {
            if let Some(index) = needed.filter(|needed| reached < Some(*needed)) {
                return Err(Refusal(format!(
                    "the snapshot ends at {reached:?}, but the raft log beside it {what} {index}"
                )));
            }
        }
        Ok(())
    };
    LogFile::open::<Refusal>(place, settings.log, expected, &readable, check)
        .map_err(|Refusal(why)| why)
}

/// Why an entry of the file cannot be used.
fn readable(entry: &Entry) -> Result<(), String> {
    match entry.kind() {
        EntryKind::Blank => Ok(()),
        EntryKind::Normal => rmp_serde::from_slice::<Command>(entry.payload())
            .map(drop)
            .map_err(|error| error.to_string()),
        EntryKind::Membership => rmp_serde::from_slice::<Members>(entry.payload())
            .map(drop)
            .map_err(|error| error.to_string()),
    }
}

/// The command that an entry carries, if it is one that can be read.
pub(super) fn command(entry: &Entry) -> Option<Command> {
    let is_command = entry.kind() == EntryKind::Normal;
    is_command
        .then(|| rmp_serde::from_slice(entry.payload()).ok())
        .flatten()
}
