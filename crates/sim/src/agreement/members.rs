//! Who belongs to the group and who votes, and how one step changes that. Knows nothing of logs.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use tablestore_controller::GroupStep;
use tablestore_placement::StorageId;

/// The group as one entry of the log says it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Members {
    /// A majority of each must agree; two of them while a change is under way.
    pub(super) configs: Vec<BTreeSet<StorageId>>,
    /// All nodes with their addresses.
    pub(super) nodes: BTreeMap<StorageId, String>,
}

impl Members {
    /// A group of one.
    pub(super) fn alone(id: StorageId, address: String) -> Self {
        Self {
            configs: vec![[id].into()],
            nodes: [(id, address)].into(),
        }
    }

    pub(super) fn voters(&self) -> BTreeSet<StorageId> {
        self.configs.iter().flatten().copied().collect()
    }

    pub(super) fn votes(&self, id: StorageId) -> bool {
        self.configs.iter().any(|config| config.contains(&id))
    }

    pub(super) fn is_in_change(&self) -> bool {
        self.configs.len() > 1
    }

    /// Whether those for whom `has` is true are a majority of each half.
    pub(super) fn is_majority(&self, has: impl Fn(StorageId) -> bool) -> bool {
        let enough = |config: &BTreeSet<StorageId>| {
            config.iter().filter(|id| has(**id)).count() > config.len() / 2
        };
        !self.configs.is_empty() && self.configs.iter().all(enough)
    }

    /// The group once a change is finished.
    pub(super) fn settled(&self) -> Self {
        Self {
            configs: self.configs.last().cloned().into_iter().collect(),
            nodes: self.nodes.clone(),
        }
    }

    /// The group that a step asks for; while voters change, both halves.
    pub(super) fn after(&self, step: &GroupStep) -> Result<Self, String> {
        let mut next = self.clone();
        let mut voters = self.configs.last().cloned().unwrap_or_default();
        let known = |id: &StorageId| match self.nodes.contains_key(id) {
            true => Ok(*id),
            false => Err(format!("{id} is not in the group")),
        };
        match step {
            GroupStep::Finish => return Ok(self.settled()),
            GroupStep::HandOver => return Err("a hand-over changes no group".to_owned()),
            GroupStep::AddLearner(id, address) | GroupStep::SetAddress(id, address) => {
                next.nodes.insert(*id, address.clone());
                return Ok(next);
            }
            GroupStep::Remove(id) if self.votes(*id) => return Err(format!("{id} votes")),
            GroupStep::Remove(id) => {
                next.nodes.remove(id);
                return Ok(next);
            }
            GroupStep::Promote(id) => drop(voters.insert(known(id)?)),
            GroupStep::Demote(id) => drop(voters.remove(id)),
            GroupStep::Replace { old, new } => {
                voters.remove(old);
                voters.insert(known(new)?);
            }
        }
        if voters.is_empty() {
            return Err("nobody would vote".to_owned());
        }
        next.configs.push(voters);
        Ok(next)
    }
}
