//! A decision of the controller: states of members and assignments, each part by compare-and-set.

use crate::{
    Applied, Assignment, AssignmentChange, Change, ClusterMap, Incarnation, MemberState,
    PartitionChange, PartitionId, Refused, StorageId, check,
};

impl ClusterMap {
    /// Applies what still fits. States come first, so that nothing is given to a member that dies
    /// by the same decision; leaving comes last, so that the same decision may take a member's
    /// last places away.
    pub(super) fn apply_change(&mut self, change: &Change) -> Result<Applied, Refused> {
        let mut applied = Applied::default();
        let mut decision = change.decision.clone();
        (decision.changes, decision.changes_total) = (Vec::new(), 0);
        let mut changed = change.is_empty();
        let leaves = |state: MemberState| state == MemberState::Left;
        let states = change
            .members
            .iter()
            .filter(|(_, _, state)| !leaves(*state));
        for &(storage, incarnation, state) in states {
            match self.change_state(storage, incarnation, state, decision.at_ms) {
                Ok(different) => changed |= different,
                Err(refused) => applied.skipped_members.push((storage, refused)),
            }
        }
        for assignment in &change.assignments {
            match self.change_assignment(assignment) {
                Ok(noted) => {
                    decision.note(noted);
                    changed = true;
                }
                Err(refused) => applied.skipped.push((assignment.partition, refused)),
            }
        }
        for &(storage, incarnation, _) in change.members.iter().filter(|(_, _, s)| leaves(*s)) {
            match self.retire(storage, incarnation) {
                Ok(()) => changed = true,
                Err(refused) => applied.skipped_members.push((storage, refused)),
            }
        }
        let recorded = if changed {
            self.record(decision)
        } else {
            self.unchanged()
        };
        Ok(Applied {
            skipped: applied.skipped,
            skipped_members: applied.skipped_members,
            ..recorded
        })
    }

    /// Whether the state is another one afterwards.
    fn change_state(
        &mut self,
        storage: StorageId,
        incarnation: Incarnation,
        state: MemberState,
        at_ms: u64,
    ) -> Result<bool, Refused> {
        self.require_current(storage, incarnation)?;
        let Some(member) = self.members.get_mut(&storage) else {
            return Err(Refused::UnknownMember { storage });
        };
        let from = member.state;
        if from == state {
            return Ok(false);
        }
        // Only a new incarnation ends `Down`; a doubt about a member that drains would end its
        // drain when the doubt is cleared.
        let impossible = from == MemberState::Down
            || from == MemberState::Left
            || (from, state) == (MemberState::Draining, MemberState::Suspect);
        if impossible {
            return Err(Refused::ImpossibleState {
                storage,
                from,
                to: state,
            });
        }
        (member.state, member.since_ms) = (state, at_ms);
        member.drains = match state {
            MemberState::Draining => true,
            MemberState::Up => false,
            _ => member.drains,
        };
        Ok(true)
    }

    fn change_assignment(&mut self, change: &AssignmentChange) -> Result<PartitionChange, Refused> {
        let partition = change.partition;
        let (table, before) = self
            .tables
            .get(&partition.table)
            .and_then(|table| Some((table, table.partitions.get(partition.partition as usize)?)))
            .ok_or(Refused::UnknownPartition { partition })?;
        if (before.epoch, before.version) != change.expected {
            let (epoch, version) = (before.epoch, before.version);
            return Err(Refused::StaleAssignment { epoch, version });
        }
        let after = check::next(
            self,
            &table.definition,
            before,
            &change.next,
            &change.stopped,
        )
        .map_err(|rule| Refused::RuleBroken { rule, partition })?;
        let noted = PartitionChange {
            partition,
            before: Some(before.clone()),
            after: after.clone(),
        };
        self.put(partition, after);
        Ok(noted)
    }

    fn retire(&mut self, storage: StorageId, incarnation: Incarnation) -> Result<(), Refused> {
        self.require_current(storage, incarnation)?;
        if self.members.len() == 1 {
            return Err(Refused::LastMember { storage });
        }
        let partitions = self.places(storage);
        if partitions > 0 {
            return Err(Refused::StillInUse {
                storage,
                partitions,
            });
        }
        self.members.remove(&storage);
        self.retired.insert(storage);
        Ok(())
    }

    /// Puts an assignment that was checked in its place.
    pub(crate) fn put(&mut self, partition: PartitionId, assignment: Assignment) {
        let place = self
            .tables
            .get_mut(&partition.table)
            .and_then(|table| table.partitions.get_mut(partition.partition as usize));
        if let Some(place) = place {
            *place = assignment;
        }
    }
}
