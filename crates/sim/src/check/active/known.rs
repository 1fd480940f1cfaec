//! What must be known of a row of an active table, and whether what was shown says at least that.
//! A model of its own, so that the merge of the product is not judged by itself. Knows nothing of
//! clients and replicas.

use std::collections::{BTreeMap, BTreeSet};

use tablestore_replication::active::Version;

use super::{Breach, Change, Rule};

/// Attributes and the versions under which they are shown.
pub(super) type Shown = BTreeMap<String, Version>;

/// The newest of what is known of a row, attribute by attribute.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Known {
    /// The last DELETE, or PUT, and whether it was a DELETE.
    mark: Option<(Version, bool)>,
    /// The last write of each attribute, and whether it is there after that.
    cells: BTreeMap<String, (Version, bool)>,
}

impl Known {
    /// A write is known.
    pub(super) fn write(&mut self, version: Version, change: &Change) {
        match change {
            Change::Put(names) => {
                self.mark = self.mark.max(Some((version, false)));
                self.set(version, names, true);
            }
            Change::Patch { set, remove } => {
                self.set(version, set, true);
                self.set(version, remove, false);
            }
            Change::Delete => self.mark = self.mark.max(Some((version, true))),
        }
    }

    /// An attribute was shown under this version.
    pub(super) fn see(&mut self, name: &str, version: Version) {
        let cell = self.cells.entry(name.to_owned()).or_default();
        *cell = (*cell).max((version, true));
    }

    fn set(&mut self, version: Version, names: &[String], is_there: bool) {
        for name in names {
            let cell = self.cells.entry(name.clone()).or_default();
            *cell = (*cell).max((version, is_there));
        }
    }

    /// Whether what was shown, of a row that exists or not, is this or newer.
    pub(super) fn judge(&self, exists: bool, shown: &Shown, hiders: &Hiders) -> Result<(), Breach> {
        for (name, version) in shown {
            self.judge_shown(name, *version)?;
        }
        for (name, (version, is_there)) in &self.cells {
            let is_hidden = self.mark.is_some_and(|mark| hides(mark, *version));
            let is_missing = *is_there && !is_hidden && !shown.contains_key(name);
            if is_missing && !hiders.may_hide(name, *version) {
                let words = format!("{name} of {version:?} is not there, and nothing hides it");
                return Err((Rule::Lost, words));
            }
        }
        match self.mark {
            Some((version, false)) if !exists && !hiders.is_deleted_after(version) => {
                let words = format!("the row that was put as {version:?} does not exist");
                Err((Rule::Lost, words))
            }
            _ => Ok(()),
        }
    }

    fn judge_shown(&self, name: &str, version: Version) -> Result<(), Breach> {
        if let Some(mark) = self.mark.filter(|mark| hides(*mark, version)) {
            let rule = if mark.1 { Rule::Returned } else { Rule::Stale };
            let words = format!("{name} of {version:?} is shown after {mark:?}");
            return Err((rule, words));
        }
        match self.cells.get(name) {
            Some((newest, is_there)) if *newest > version => {
                let rule = if *is_there {
                    Rule::Stale
                } else {
                    Rule::Returned
                };
                Err((
                    rule,
                    format!("{name} of {version:?} is shown after {newest:?}"),
                ))
            }
            _ => Ok(()),
        }
    }
}

fn hides((mark, is_delete): (Version, bool), version: Version) -> bool {
    version < mark || is_delete && version == mark
}

/// What of a row was ever seen that hides something: whoever wrote it.
#[derive(Clone, Debug, Default)]
pub(super) struct Hiders {
    pub(super) deletes: BTreeSet<Version>,
    pub(super) puts: BTreeSet<Version>,
    /// By attribute, when it was removed alone.
    pub(super) removed: BTreeMap<String, BTreeSet<Version>>,
}

impl Hiders {
    fn may_hide(&self, name: &str, version: Version) -> bool {
        let is_later = |of: &BTreeSet<Version>| of.last().is_some_and(|last| *last > version);
        is_later(&self.deletes)
            || is_later(&self.puts)
            || self.removed.get(name).is_some_and(is_later)
            || self.deletes.contains(&version)
    }

    fn is_deleted_after(&self, version: Version) -> bool {
        self.deletes.last().is_some_and(|last| *last >= version)
    }

    /// What an acknowledged write hides, though no replica was seen to keep it so.
    pub(super) fn note(&mut self, version: Version, change: &Change) {
        match change {
            Change::Put(_) => {
                self.puts.insert(version);
            }
            Change::Patch { remove, .. } => {
                for name in remove {
                    self.removed
                        .entry(name.clone())
                        .or_default()
                        .insert(version);
                }
            }
            Change::Delete => {
                self.deletes.insert(version);
            }
        }
    }
}
