//! What is on a simulated disk, and the steps that are not durable yet. Knows nothing of handles.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::Arc;

use super::{BLOCK, Failing};

/// What a disk writes as one.
pub(super) const SECTOR: usize = 512;

/// Contents by name; shared until one is written.
pub(super) type Files = BTreeMap<String, Arc<Vec<u8>>>;

/// A seeded generator (splitmix).
#[derive(Clone, Debug)]
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(super) fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % limit.max(1) as u64).unwrap_or(0)
    }
}

/// Something that was done and is not durable.
#[derive(Clone, Debug)]
pub(super) struct Step {
    pub(super) number: u64,
    pub(super) name: String,
    pub(super) what: What,
}

#[derive(Clone, Debug)]
pub(super) enum What {
    /// Whole sectors, but for the end of the file; `old` is shorter where the file grew.
    Write {
        at: usize,
        old: Vec<u8>,
        new: Vec<u8>,
    },
    /// What was written to the file before is on the disk before what comes after.
    Sync,
    /// The file was made, replaced or removed.
    Name {
        old: Option<Arc<Vec<u8>>>,
        new: Option<Arc<Vec<u8>>>,
    },
}

impl Step {
    /// Whether it ends what was done to the file, so that it can become durable.
    pub(super) fn is_synced(&self) -> bool {
        !matches!(self.what, What::Write { .. })
    }
}

#[derive(Debug)]
pub(super) struct State {
    /// All steps included.
    pub(super) files: Files,
    /// Sectors that failed to be written and are still in memory, by file and number.
    failed: BTreeMap<String, BTreeMap<usize, Vec<u8>>>,
    pub(super) steps: VecDeque<Step>,
    pub(super) step_next: u64,
    pub(super) random: Random,
    pub(super) failing: Option<Failing>,
    pub(super) is_full: bool,
    pub(super) is_misdirecting: bool,
    pub(super) is_garbled: bool,
    pub(super) is_prompt: bool,
}

impl State {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            files: Files::new(),
            failed: BTreeMap::new(),
            steps: VecDeque::new(),
            step_next: 0,
            random: Random::new(seed),
            failing: None,
            is_full: false,
            is_misdirecting: false,
            is_garbled: false,
            is_prompt: false,
        }
    }

    pub(super) fn length(&self, name: &str) -> io::Result<usize> {
        let content = self.files.get(name);
        content.map_or_else(|| Err(io::ErrorKind::NotFound.into()), |c| Ok(c.len()))
    }

    pub(super) fn read(&self, name: &str, at: usize, length: usize) -> io::Result<Vec<u8>> {
        let content = self.files.get(name);
        let content = content.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
        let end = at.saturating_add(length);
        let content = content.get(at..end);
        let content = content.ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))?;
        let mut content = content.to_vec();
        for (sector, failed) in self.failed.get(name).into_iter().flatten() {
            let start = sector * SECTOR;
            let (from, to) = (start.max(at), (start + failed.len()).min(end));
            if from < to {
                content[from - at..to - at].copy_from_slice(&failed[from - start..to - start]);
            }
        }
        Ok(content)
    }

    pub(super) fn write(&mut self, name: &str, at: usize, bytes: &[u8]) -> io::Result<()> {
        let length = self.length(name)?;
        if at > length {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        if at + bytes.len() > length && self.is_full {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let at = if std::mem::take(&mut self.is_misdirecting) {
            self.stray(at, bytes.len(), length)
        } else {
            at
        };
        let (at, new) = self.whole_sectors(name, at, bytes, length)?;
        if self.failing == Some(Failing::Write) {
            self.failing = None;
            self.fail(name, at, &new[..new.len().min(length - at)]);
            return Err(broken());
        }
        if let Some(failed) = self.failed.get_mut(name) {
            failed.retain(|sector, _| !(at..at + new.len()).contains(&(sector * SECTOR)));
        }
        let content = Arc::make_mut(self.files.entry(name.to_owned()).or_default());
        let old = content[at..(at + new.len()).min(length)].to_vec();
        overwrite(content, at, &new);
        self.push(name, What::Write { at, old, new });
        Ok(())
    }

    /// Another block where so many bytes fit, if there is one.
    fn stray(&mut self, at: usize, bytes: usize, length: usize) -> usize {
        let places = length.saturating_sub(bytes) / BLOCK + 1;
        let others = (0..places).map(|place| place * BLOCK);
        let others: Vec<usize> = others.filter(|place| *place != at).collect();
        let drawn = self.random.below(others.len());
        others.get(drawn).copied().unwrap_or(at)
    }

    /// A write widened to the sectors it touches, with what is read there now.
    fn whole_sectors(
        &self,
        name: &str,
        at: usize,
        bytes: &[u8],
        length: usize,
    ) -> io::Result<(usize, Vec<u8>)> {
        let end = at + bytes.len();
        let start = at - at % SECTOR;
        let wide = end.next_multiple_of(SECTOR).min(length.max(end));
        let mut new = self.read(name, start, wide.min(length) - start)?;
        new.resize(wide - start, 0);
        new[at - start..end - start].copy_from_slice(bytes);
        Ok((start, new))
    }

    /// Keeps sectors readable that are not on the disk.
    fn fail(&mut self, name: &str, at: usize, bytes: &[u8]) {
        let failed = self.failed.entry(name.to_owned()).or_default();
        for (sector, content) in bytes.chunks(SECTOR).enumerate() {
            failed.insert(at / SECTOR + sector, content.to_vec());
        }
    }

    pub(super) fn sync(&mut self, name: &str) -> io::Result<()> {
        if self.failing == Some(Failing::Sync) {
            self.failing = None;
            self.lose_unsynced(name);
            return Err(broken());
        }
        self.push(name, What::Sync);
        Ok(())
    }

    /// Takes the writes since the last sync of a file from the disk; they stay readable.
    fn lose_unsynced(&mut self, name: &str) {
        while let Some(at) = self.steps.iter().rposition(|step| step.name == name)
            && matches!(self.steps[at].what, What::Write { .. })
        {
            let Some(Step { what, .. }) = self.steps.remove(at) else {
                return;
            };
            if let What::Write { at, old, .. } = &what {
                let shown = self.read(name, *at, old.len()).unwrap_or_default();
                undo(&mut self.files, name, &what);
                self.fail(name, *at, &shown);
            }
        }
    }

    /// Makes, replaces or removes a file, as one.
    pub(super) fn put(&mut self, name: &str, content: Option<Vec<u8>>) -> io::Result<()> {
        if self.failing == Some(Failing::Name) {
            self.failing = None;
            return Err(broken());
        }
        if content.is_some() && self.is_full {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.failed.remove(name);
        let new = content.map(Arc::new);
        let old = set(&mut self.files, name, new.clone());
        self.push(name, What::Name { old, new });
        Ok(())
    }

    fn push(&mut self, name: &str, what: What) {
        let step = Step {
            number: self.step_next,
            name: name.to_owned(),
            what,
        };
        self.step_next += 1;
        let is_done = step.is_synced();
        self.steps.push_back(step);
        if self.is_prompt && is_done {
            self.steps.retain(|step| step.name != name);
        }
    }

    /// What was synced in a folder before this step is durable. Writes that no sync followed are
    /// not, however long ago they were made.
    pub(super) fn settle(&mut self, folder: &str, before: u64) {
        let mut done: BTreeMap<String, u64> = BTreeMap::new();
        for step in &self.steps {
            if step.number < before && step.name.starts_with(folder) && step.is_synced() {
                done.insert(step.name.clone(), step.number);
            }
        }
        self.steps
            .retain(|step| done.get(&step.name).is_none_or(|last| step.number > *last));
    }

    /// The files without the steps.
    pub(super) fn settled(&self) -> Files {
        let mut files = self.files.clone();
        for step in self.steps.iter().rev() {
            undo(&mut files, &step.name, &step.what);
        }
        files
    }

    pub(super) fn restore(&mut self, folder: &str, image: &Files) {
        self.files.retain(|name, _| !name.starts_with(folder));
        self.failed.retain(|name, _| !name.starts_with(folder));
        self.steps.retain(|step| !step.name.starts_with(folder));
        let inside = image.iter().filter(|(name, _)| name.starts_with(folder));
        self.files
            .extend(inside.map(|(name, content)| (name.clone(), Arc::clone(content))));
    }

    pub(super) fn lose(&mut self, name: &str) -> bool {
        self.failed.remove(name);
        self.steps.retain(|step| step.name != name);
        self.files.remove(name).is_some()
    }

    pub(super) fn rot(&mut self, name: &str, at: usize) -> bool {
        let bit = 1u8 << self.random.below(8);
        let Some(content) = self.files.get_mut(name) else {
            return false;
        };
        let Some(byte) = Arc::make_mut(content).get_mut(at) else {
            return false;
        };
        *byte ^= bit;
        for step in self.steps.iter_mut().filter(|step| step.name == name) {
            match &mut step.what {
                What::Write { at: from, old, new } => {
                    for content in [old, new] {
                        let within = at.checked_sub(*from);
                        if let Some(byte) = within.and_then(|at| content.get_mut(at)) {
                            *byte ^= bit;
                        }
                    }
                }
                What::Name { new: Some(new), .. } => {
                    if let Some(byte) = Arc::make_mut(new).get_mut(at) {
                        *byte ^= bit;
                    }
                }
                What::Name { new: None, .. } | What::Sync => {}
            }
        }
        true
    }
}

fn broken() -> io::Error {
    io::Error::other("input/output error")
}

/// Writes bytes into a content, which grows if it must.
pub(super) fn overwrite(content: &mut Vec<u8>, at: usize, bytes: &[u8]) {
    let end = at + bytes.len();
    if content.len() < end {
        content.resize(end, 0);
    }
    content[at..end].copy_from_slice(bytes);
}

/// Gives a name this content, and answers what it had.
pub(super) fn set(
    files: &mut Files,
    name: &str,
    content: Option<Arc<Vec<u8>>>,
) -> Option<Arc<Vec<u8>>> {
    match content {
        Some(content) => files.insert(name.to_owned(), content),
        None => files.remove(name),
    }
}

fn undo(files: &mut Files, name: &str, what: &What) {
    match what {
        What::Sync => {}
        What::Name { old, .. } => drop(set(files, name, old.clone())),
        What::Write { at, old, new } => {
            let Some(content) = files.get_mut(name) else {
                return;
            };
            let content = Arc::make_mut(content);
            overwrite(content, *at, old);
            if old.len() < new.len() {
                content.truncate(at + old.len());
            }
        }
    }
}
