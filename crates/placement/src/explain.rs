//! What would happen if members failed: the planners run on a copy of the map, so the answer is
//! what would be done, by the same code. Nothing here can do anything.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::health::{PartitionHealth, Summary, copies, summary};
use crate::{
    ClusterMap, Command, DataPath, Decision, DecisionKind, Epoch, Incarnation, MemberState,
    PartitionId, StorageId, Strategies, plan,
};

/// What would become of one partition that is affected.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionOutcome {
    /// The partition.
    pub partition: PartitionId,
    /// The name of its table.
    pub table: String,
    /// Who is primary now.
    pub primary: Option<StorageId>,
    /// Who would be primary; none if nobody could take over.
    pub next_primary: Option<StorageId>,
    /// The epoch that it would be in.
    pub epoch: Epoch,
    /// Who would be in the in-sync set.
    pub in_sync: Vec<StorageId>,
    /// How many live members have every acknowledged write now.
    pub copies_before: u32,
    /// How many would.
    pub copies_after: u32,
    /// How many more failures could then be survived without losing acknowledged writes.
    pub failures_left: u32,
    /// Whether strong reads would be answered.
    pub readable: bool,
    /// Whether writes would be taken.
    pub writable: bool,
}

/// What would happen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explanation {
    /// The members that are assumed to fail.
    pub failed: Vec<StorageId>,
    /// The affected partitions.
    pub partitions: Vec<PartitionOutcome>,
    /// How many partitions would get another primary.
    pub failovers: u32,
    /// How many more offices each member would hold.
    pub offices_gained: BTreeMap<StorageId, u32>,
    /// The numbers now.
    pub before: Summary,
    /// The numbers then.
    pub after: Summary,
    /// Whether too many would be missing for their data to be copied elsewhere by itself.
    pub copying_refused: Option<String>,
    /// How many members vote on the map.
    pub voters: u32,
    /// How many of them would be live. Without a majority nothing could be decided: no failover, no
    /// in-sync set without those that failed, no change of a table.
    pub voters_left: u32,
    /// Whether those would be a majority.
    pub majority: bool,
}

/// The map once these starts of members have failed and what can be done about it is done.
fn after(
    strategies: &Strategies,
    map: &ClusterMap,
    dead: &[(StorageId, Incarnation)],
    majority: bool,
) -> ClusterMap {
    let mut then = map.clone();
    if majority {
        let decision = Decision::new(DecisionKind::Failover, 0);
        let change = plan::on_members_down(strategies, map, dead).into_change(decision);
        // A refusal leaves the copy as it is, and then that is what would happen.
        let _ = then.apply(&Command::Change(change));
        return then;
    }
    // They fail, and nobody can decide anything about it.
    for (storage, _) in dead {
        if let Some(member) = then.members.get_mut(storage) {
            member.state = MemberState::Down;
        }
    }
    then
}

/// What would happen if these members failed at the same time; `voters` vote on the map. Unknown
/// ones are left out.
#[must_use]
pub fn if_fails(
    strategies: &Strategies,
    map: &ClusterMap,
    voters: &[StorageId],
    failed: &[StorageId],
) -> Explanation {
    let dead: Vec<(StorageId, Incarnation)> = failed
        .iter()
        .filter_map(|s| Some((*s, map.members.get(s)?.incarnation)))
        .collect();
    let failed: Vec<StorageId> = dead.iter().map(|(storage, _)| *storage).collect();
    let lives = |voter: &&StorageId| map.is_live(**voter) && !failed.contains(voter);
    let voters_left = voters.iter().filter(lives).count();
    let majority = voters_left > voters.len() / 2;
    let then = after(strategies, map, &dead, majority);
    let mut explanation = Explanation {
        before: summary(map),
        after: summary(&then),
        copying_refused: plan::copying_allowed(map, &failed)
            .err()
            .map(|e| e.to_string()),
        voters: u32::try_from(voters.len()).unwrap_or(u32::MAX),
        voters_left: u32::try_from(voters_left).unwrap_or(u32::MAX),
        majority,
        failed,
        partitions: Vec::new(),
        failovers: 0,
        offices_gained: BTreeMap::new(),
    };
    for (partition, table, now) in map.partitions() {
        let Some(next) = then.assignment(partition) else {
            continue;
        };
        if !explanation.failed.iter().any(|s| now.involves(*s)) {
            continue;
        }
        let before = PartitionHealth::of(map, &table.definition, now);
        let after = PartitionHealth::of(&then, &table.definition, next);
        // Every member of the in-sync set is asked, and without a majority none is taken out of it.
        let is_whole = majority
            || table.definition.data_path() != DataPath::PrimaryBackup
            || next.in_sync.iter().all(|member| then.is_live(*member));
        let copies_after = copies(&table.definition, next, after);
        let next_primary = next.primary_member().filter(|_| after.has_primary);
        if let Some(gains) = next_primary.filter(|_| next.primary != now.primary) {
            explanation.failovers += 1;
            *explanation.offices_gained.entry(gains).or_default() += 1;
        }
        explanation.partitions.push(PartitionOutcome {
            partition,
            table: table.name.clone(),
            primary: now.primary_member(),
            next_primary,
            epoch: next.epoch,
            in_sync: next.in_sync.clone(),
            copies_before: copies(&table.definition, now, before),
            copies_after,
            failures_left: copies_after.saturating_sub(1),
            readable: after.is_readable() && is_whole,
            writable: after.is_writable() && is_whole,
        });
    }
    explanation
}
