//! Applies commands to the map: pure, and the same on every node. Knows nothing about who planned
//! a command; what is unsafe is refused here, whoever asks.

mod alter;
mod change;
mod in_sync;
mod register;
mod tables;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use crate::{
    Applied, ClusterId, ClusterMap, Command, DECISIONS_KEPT, Decision, DecisionKind, Refused,
};

pub use tables::{PARTITIONS_MAX, REPLICAS_MAX, TABLES_MAX, validate_definition, validate_name};

/// Proposals of primaries that come within this time about the same member are kept as one
/// decision, so that a node that returns to many partitions does not push every failover out of
/// the last decisions.
const IN_SYNC_MERGED_MS: u64 = 10_000;

impl ClusterMap {
    /// Applies a command. A command that changes something raises the version by one and is
    /// recorded as a decision; one that is refused, or changes nothing, leaves the map as it is.
    pub fn apply(&mut self, command: &Command) -> Result<Applied, Refused> {
        if !self.is_founded() && !matches!(command, Command::Found { .. }) {
            return Err(Refused::NotFounded);
        }
        match command {
            Command::Found { cluster, at_ms } => self.apply_found(*cluster, *at_ms),
            Command::Register(registration) => self.apply_register(registration),
            Command::CreateTable {
                name,
                definition,
                assignments,
                at_ms,
            } => self.apply_create_table(name, definition, assignments, *at_ms),
            Command::DropTable { name, at_ms } => self.apply_drop_table(name, *at_ms),
            Command::ProposeInSync {
                partition,
                epoch,
                version,
                office,
                in_sync,
                joiner,
                at_ms,
            } => {
                let proposal = in_sync::Proposal {
                    partition: *partition,
                    expected: (*epoch, *version),
                    office: *office,
                    in_sync,
                    joiner: *joiner,
                    at_ms: *at_ms,
                };
                self.apply_in_sync(&proposal)
            }
            Command::Change(change) => self.apply_change(change),
            Command::AlterTable {
                name,
                alteration,
                leaving,
                at_ms,
            } => self.apply_alter_table(name, *alteration, leaving, *at_ms),
            Command::FoundTable {
                table,
                storage,
                at_ms,
            } => self.apply_found_table(*table, *storage, *at_ms),
        }
    }

    /// Applies a command that the leader of `term` committed. What a controller decided by itself
    /// is applied only in the term and to the map that it was decided under: a verdict of a
    /// controller that was cut off says nothing about nodes that others hear well (Cloudflare,
    /// November 2020; DynamoDB, October 2025).
    ///
    /// # Errors
    /// [`Refused::StaleDecision`] then; otherwise as [`apply`](Self::apply).
    pub fn apply_in_term(&mut self, term: u64, command: &Command) -> Result<Applied, Refused> {
        if let Command::Change(change) = command
            && let Some(made) = change.made_under
            && (made.term, made.map_version) != (term, self.version)
        {
            let version = self.version;
            return Err(Refused::StaleDecision {
                made,
                term,
                version,
            });
        }
        self.apply(command)
    }

    fn apply_found(&mut self, cluster: ClusterId, at_ms: u64) -> Result<Applied, Refused> {
        if self.is_founded() {
            return Err(Refused::AlreadyFounded {
                cluster: self.cluster,
            });
        }
        if cluster == ClusterId(0) {
            let (field, expected) = ("cluster".to_owned(), "a number other than 0".to_owned());
            return Err(Refused::Invalid { field, expected });
        }
        self.cluster = cluster;
        Ok(self.record(Decision::new(DecisionKind::Founded, at_ms)))
    }

    /// Raises the version and keeps the decision, without those that are too old.
    fn record(&mut self, mut decision: Decision) -> Applied {
        self.version = self.version.next();
        if let Some(id) = self.merge_in_sync(&decision) {
            return Applied {
                decision: Some(id),
                ..self.unchanged()
            };
        }
        decision.id = self.next_decision;
        self.next_decision += 1;
        let id = decision.id;
        self.decisions.push_back(Arc::new(decision));
        while self.decisions.len() > DECISIONS_KEPT {
            self.decisions.pop_front();
        }
        Applied {
            decision: Some(id),
            ..self.unchanged()
        }
    }

    fn merge_in_sync(&mut self, decision: &Decision) -> Option<u64> {
        let last = self.decisions.back_mut()?;
        let alike = decision.kind == DecisionKind::InSync
            && last.kind == DecisionKind::InSync
            && last.subject == decision.subject
            && last.reason == decision.reason
            && decision.at_ms.saturating_sub(last.at_ms) < IN_SYNC_MERGED_MS;
        if !alike {
            return None;
        }
        let last = Arc::make_mut(last);
        decision
            .changes
            .iter()
            .for_each(|change| last.note(change.clone()));
        Some(last.id)
    }

    fn unchanged(&self) -> Applied {
        Applied {
            map_version: self.version,
            ..Applied::default()
        }
    }
}
