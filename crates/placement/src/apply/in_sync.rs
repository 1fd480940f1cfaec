//! A primary changes the in-sync set of its partition, within its epoch; a replica of an active
//! table, which has no primary, says that it is whole, or that one may leave.

use crate::{
    Applied, Assignment, AssignmentVersion, ClusterMap, Decision, DecisionKind, Epoch, Incarnation,
    MemberState, Office, PartitionChange, PartitionId, Refused, StorageId, Table, check,
};

/// What the primary asks for.
pub(super) struct Proposal<'a> {
    pub(super) partition: PartitionId,
    pub(super) expected: (Epoch, AssignmentVersion),
    pub(super) office: Office,
    pub(super) in_sync: &'a [StorageId],
    pub(super) joiner: Option<(StorageId, Incarnation)>,
    pub(super) at_ms: u64,
}

impl ClusterMap {
    /// Refuses a proposal from before the office, the joiner or the assignment changed: it may
    /// have waited in a queue while the joiner came back with an empty disk.
    pub(super) fn apply_in_sync(&mut self, proposal: &Proposal<'_>) -> Result<Applied, Refused> {
        let partition = proposal.partition;
        let (table, before) = self
            .tables
            .get(&partition.table)
            .and_then(|table| Some((table, table.partitions.get(partition.partition as usize)?)))
            .ok_or(Refused::UnknownPartition { partition })?;
        if !table.definition.data_path().has_offices() {
            let after = self.active_joined(table, before, proposal)?;
            let reason = match before.joiner() {
                Some(_) => "has all rows and joined the replicas of an active table",
                None => "has with others all rows of a replica of an active table that left",
            };
            let storage = proposal.office.member;
            return Ok(self.decide_in_sync(proposal, after, Some(storage), reason));
        }
        if before.primary != Some(proposal.office) {
            return Err(Refused::NotPrimary {
                primary: before.primary,
            });
        }
        if (before.epoch, before.version) != proposal.expected {
            let (epoch, version) = (before.epoch, before.version);
            return Err(Refused::StaleAssignment { epoch, version });
        }
        self.require_current(proposal.office.member, proposal.office.incarnation)?;
        if !self.is_live(proposal.office.member) {
            // It was found dead, and only waits for a successor: it must not shrink the set.
            let storage = proposal.office.member;
            return Err(Refused::NotUp { storage });
        }
        if let Some((storage, incarnation)) = proposal.joiner {
            self.require_current(storage, incarnation)?;
            // One that drains still counts until others have its copies.
            let may_join = |state| matches!(state, MemberState::Up | MemberState::Draining);
            let member = self.members.get(&storage);
            if !member.is_some_and(|member| may_join(member.state)) {
                return Err(Refused::NotUp { storage });
            }
        }
        let joiner = proposal.joiner.map(|(storage, _)| storage);
        let after = check::in_sync_change(&table.definition, before, proposal.in_sync, joiner)
            .map_err(|rule| Refused::RuleBroken { rule, partition })?;
        let left = before
            .in_sync
            .iter()
            .find(|storage| !after.in_sync.contains(storage));
        let reason = match (joiner, left) {
            (Some(_), None) => "has caught up and joined in-sync sets",
            (None, Some(_)) => "did not keep up and left in-sync sets",
            _ => "in-sync sets changed",
        };
        let subject = joiner.or_else(|| left.copied());
        Ok(self.decide_in_sync(proposal, after, subject, reason))
    }

    /// The end of the change of replicas that is under way, as the joiner of that very change asks
    /// for, or one of those that stay: the old epoch says that it has met the others since the
    /// change began.
    fn active_joined(
        &self,
        table: &Table,
        before: &Assignment,
        proposal: &Proposal<'_>,
    ) -> Result<Assignment, Refused> {
        let partition = proposal.partition;
        if (before.epoch, before.version) != proposal.expected {
            let (epoch, version) = (before.epoch, before.version);
            return Err(Refused::StaleAssignment { epoch, version });
        }
        let storage = proposal.office.member;
        self.require_current(storage, proposal.office.incarnation)?;
        if !self.is_live(storage) {
            return Err(Refused::NotUp { storage });
        }
        check::active_joined(&table.definition, before, storage, proposal.in_sync)
            .map_err(|rule| Refused::RuleBroken { rule, partition })
    }

    fn decide_in_sync(
        &mut self,
        proposal: &Proposal<'_>,
        after: Assignment,
        subject: Option<StorageId>,
        reason: &str,
    ) -> Applied {
        let partition = proposal.partition;
        let mut decision = Decision::new(DecisionKind::InSync, proposal.at_ms).because(reason);
        decision.subject = subject;
        decision.note(PartitionChange {
            partition,
            before: self.assignment(partition).cloned(),
            after: after.clone(),
        });
        self.put(partition, after);
        self.record(decision)
    }

    /// Refuses what is about another start of a member than the current one.
    pub(super) fn require_current(
        &self,
        storage: StorageId,
        given: Incarnation,
    ) -> Result<(), Refused> {
        let Some(member) = self.members.get(&storage) else {
            return Err(Refused::UnknownMember { storage });
        };
        if member.incarnation == given {
            return Ok(());
        }
        Err(Refused::StaleIncarnation {
            storage,
            current: member.incarnation,
            given,
        })
    }
}
