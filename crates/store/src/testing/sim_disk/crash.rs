//! What a crash leaves of the steps that were not durable. Knows nothing of what comes after.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::state::{Files, Random, SECTOR, State, Step, What, overwrite, set};

impl State {
    /// The disk after a crash now.
    pub(super) fn crash(&mut self) -> Self {
        let seed = self.random.next();
        let mut after = Self::new(seed);
        after.is_full = self.is_full;
        after.is_garbled = self.is_garbled;
        after.is_prompt = self.is_prompt;
        after.files = self.settled();
        let mut folders: BTreeMap<&str, Vec<&Step>> = BTreeMap::new();
        for step in &self.steps {
            let folder = step.name.rsplit_once('/').map_or("", |(folder, _)| folder);
            folders.entry(folder).or_default().push(step);
        }
        for steps in folders.into_values() {
            let issued = after.random.below(steps.len() + 1);
            let is_garbled = after.is_garbled;
            arrive(
                &mut after.files,
                &steps[..issued],
                &mut after.random,
                is_garbled,
            );
        }
        after
    }
}

/// Does the steps, but tears the writes that no sync of their file followed.
fn arrive(files: &mut Files, steps: &[&Step], random: &mut Random, is_garbled: bool) {
    let mut synced: BTreeMap<&str, usize> = BTreeMap::new();
    for (at, step) in steps.iter().enumerate() {
        if matches!(step.what, What::Sync) {
            synced.insert(&step.name, at);
        }
    }
    for (place, step) in steps.iter().enumerate() {
        match &step.what {
            What::Sync => {}
            What::Name { new, .. } => drop(set(files, &step.name, new.clone())),
            What::Write { at, new, .. } => {
                let Some(content) = files.get_mut(&step.name) else {
                    continue;
                };
                let content = Arc::make_mut(content);
                if synced.get(&*step.name).is_some_and(|sync| *sync > place) {
                    overwrite(content, *at, new);
                } else {
                    tear(content, *at, new, random, is_garbled);
                }
            }
        }
    }
}

/// Writes some of the sectors, and the new length or not.
fn tear(content: &mut Vec<u8>, at: usize, new: &[u8], random: &mut Random, is_garbled: bool) {
    let end = at + new.len();
    if content.len() < end && random.below(2) == 0 {
        content.resize(end, 0);
    }
    let kinds = if is_garbled { 3 } else { 2 };
    for (sector, bytes) in new.chunks(SECTOR).enumerate() {
        let start = at + sector * SECTOR;
        let Some(place) = content.get_mut(start..start + bytes.len()) else {
            return;
        };
        match random.below(kinds) {
            0 => {}
            1 => place.copy_from_slice(bytes),
            _ => place.fill_with(|| random.next().to_le_bytes()[0]),
        }
    }
}
