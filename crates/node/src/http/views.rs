//! The cluster map as clients see it: members, partitions, decisions, checksums.
//!
//! Pure functions of what they are given. Members are named; where a name was taken over by
//! another member, and beside every name, stands the storage id.

use axum::Json;
use serde::Serialize;
use serde_json::Value;
use tablestore_contract::{
    AssignmentView, Change, Checksums, ClusterView, Decision as DecisionView, Decisions, Document,
    Drain, Explanation as ExplanationView, NodeView, PartitionChecksum, PartitionCounts,
    PartitionNumber, PartitionOutcome as OutcomeView, Partitions, Phase, ReplicaChecksum,
    Resources,
};
use tablestore_placement::explain::{Explanation, PartitionOutcome};
use tablestore_placement::health::Summary;
use tablestore_placement::plan::{self, Obstacle};
use tablestore_placement::{
    Assignment, ClusterMap, Decision, DecisionKind, Member, MemberState, PartitionChange,
    StorageId, Table,
};

use super::backend::Standing;
use super::definition;
use crate::api::PartitionChecksums;

/// A view as an answer, its members in the order of their names.
pub(crate) fn shown(view: &impl Serialize) -> Json<Value> {
    Json(value(view))
}

fn value(view: &impl Serialize) -> Value {
    serde_json::to_value(view).expect("a view has only string keys")
}

/// `GET /v1/cluster`
pub(crate) fn cluster(
    map: &ClusterMap,
    standing: &Standing,
    resources: impl Fn(StorageId) -> Option<Resources>,
    requests_per_idle_day: u64,
) -> ClusterView {
    let tables = map.tables.values();
    let members = map.members.values();
    ClusterView {
        cluster: map.cluster.to_string(),
        map_version: map.version.0,
        controller: standing.controller.map(|id| name(map, id)),
        controller_id: standing.controller.map(|id| id.to_string()),
        majority: standing.majority.clone(),
        nodes: members
            .map(|node| member(map, node, standing, resources(node.storage)))
            .collect(),
        tables: tables
            .map(|table| definition::show(table, requests_per_idle_day))
            .collect(),
        more: Document::new(),
    }
}

fn member(
    map: &ClusterMap,
    member: &Member,
    standing: &Standing,
    resources: Option<Resources>,
) -> NodeView {
    let drains = member.state == MemberState::Draining;
    let drain = drains.then(|| drain(map, member.storage));
    let unreachable_since = standing.unreachable.get(&member.storage).copied();
    let unreachable_since = unreachable_since.filter(|_| member.is_live());
    let (state, since_ms) = match unreachable_since {
        Some(since_ms) => (UNREACHABLE, since_ms),
        None if drain.as_ref().is_some_and(is_empty) => (DRAINED, member.since_ms),
        None => (state(member.state), member.since_ms),
    };
    NodeView {
        id: member.storage.to_string(),
        name: member.name.clone(),
        state: state.to_owned(),
        since_ms,
        address: member.http_address.clone(),
        peer_address: member.peer_address.clone(),
        zone: Some(member.zone.clone()),
        weight: member.weight,
        incarnation: member.incarnation.0,
        voter: standing.voters.contains(&member.storage),
        drain,
        resources,
        more: Document::new(),
    }
}

/// The state of a live member of which nobody can say any more what it is.
const UNREACHABLE: &str = "unreachable";
/// The state of a member that drains and holds nothing any more.
const DRAINED: &str = "drained";

fn drain(map: &ClusterMap, storage: StorageId) -> Drain {
    let (copies_left, primaries_left) = plan::places_left(map, storage);
    let obstacles = plan::drain_obstacles(map, storage);
    Drain {
        copies_left,
        primaries_left,
        blocked: obstacles.iter().map(Obstacle::to_string).collect(),
    }
}

fn is_empty(drain: &Drain) -> bool {
    (drain.copies_left, drain.primaries_left) == (0, 0)
}

/// What keeps a member from being drained, and what would help.
pub(crate) fn blocked(map: &ClusterMap, name: &str) -> Vec<String> {
    let member = map.member_named(name);
    member.map_or_else(Vec::new, |member| drain(map, member.storage).blocked)
}

fn state(state: MemberState) -> &'static str {
    match state {
        MemberState::Up => "up",
        MemberState::Suspect => "suspect",
        MemberState::Down => "down",
        MemberState::Draining => "draining",
        MemberState::Left => "left",
    }
}

/// The name by which a member is known now, or else its storage id.
fn name(map: &ClusterMap, storage: StorageId) -> String {
    match map.members.get(&storage) {
        Some(member) if member.replaced_by.is_none() => member.name.clone(),
        _ => storage.to_string(),
    }
}

fn names(map: &ClusterMap, storages: &[StorageId]) -> Vec<String> {
    storages.iter().map(|storage| name(map, *storage)).collect()
}

/// `GET /v1/cluster/partitions?table=`
pub(crate) fn partitions(map: &ClusterMap, table: &Table) -> Partitions {
    let numbered = (0u32..).zip(&table.partitions);
    Partitions {
        table: table.name.clone(),
        partitions: numbered
            .map(|(number, held)| assignment(map, held).of_partition(number))
            .collect(),
    }
}

fn assignment(map: &ClusterMap, assignment: &Assignment) -> AssignmentView {
    AssignmentView {
        epoch: assignment.epoch.0,
        version: assignment.version.0,
        primary: assignment.primary_member().map(|id| name(map, id)),
        primary_id: assignment.primary_member().map(|id| id.to_string()),
        primary_live: map.is_filled(assignment.primary),
        replicas: names(map, &assignment.replicas),
        replica_ids: ids(&assignment.replicas),
        in_sync: names(map, &assignment.in_sync),
        in_sync_ids: ids(&assignment.in_sync),
    }
}

/// `GET /v1/cluster/decisions`, newest first.
pub(crate) fn decisions(map: &ClusterMap, limit: usize) -> Decisions {
    let newest = map.decisions.iter().rev().take(limit);
    Decisions {
        decisions: newest.map(|one| decision(map, one)).collect(),
    }
}

fn decision(map: &ClusterMap, decision: &Decision) -> DecisionView {
    let phases = decision.phases.iter().map(|phase| Phase {
        name: phase.name.clone(),
        at_ms: phase.at_ms,
    });
    DecisionView {
        id: decision.id,
        at_ms: decision.at_ms,
        kind: kind(decision.kind),
        subject: decision.subject.map(|id| name(map, id)),
        subject_id: decision.subject.map(|id| id.to_string()),
        evidence: decision.evidence.clone(),
        reason: decision.reason.clone(),
        phases: phases.collect(),
        changes: decision
            .changes
            .iter()
            .map(|one| change(map, one))
            .collect(),
        changes_total: decision.changes_total,
        more: Document::new(),
    }
}

/// The word by which the map keeps the kind as well.
fn kind(kind: DecisionKind) -> String {
    match serde_json::to_value(kind) {
        Ok(Value::String(word)) => word,
        other => unreachable!("a kind is a word, not {other:?}"),
    }
}

fn change(map: &ClusterMap, change: &PartitionChange) -> Change {
    let table = map.tables.get(&change.partition.table);
    Change {
        table: table.map(|table| table.name.clone()),
        partition: change.partition.partition,
        before: change.before.as_ref().map(|before| assignment(map, before)),
        after: assignment(map, &change.after),
    }
}

/// `GET /v1/cluster/explain?if_fails=`
pub(crate) fn explanation(explanation: &Explanation) -> ExplanationView {
    let gained = explanation.offices_gained.iter();
    ExplanationView {
        failed: ids(&explanation.failed),
        partitions: explanation.partitions.iter().map(outcome).collect(),
        failovers: explanation.failovers,
        offices_gained: gained.map(|(id, more)| (id.to_string(), *more)).collect(),
        before: counts(&explanation.before),
        after: counts(&explanation.after),
        copying_refused: explanation.copying_refused.clone(),
        voters: explanation.voters,
        voters_left: explanation.voters_left,
        majority: explanation.majority,
        more: Document::new(),
    }
}

fn ids(storages: &[StorageId]) -> Vec<String> {
    storages.iter().map(StorageId::to_string).collect()
}

fn outcome(outcome: &PartitionOutcome) -> OutcomeView {
    OutcomeView {
        partition: PartitionNumber {
            table: outcome.partition.table.0,
            partition: outcome.partition.partition,
        },
        table: outcome.table.clone(),
        primary: outcome.primary.map(|storage| storage.to_string()),
        next_primary: outcome.next_primary.map(|storage| storage.to_string()),
        epoch: outcome.epoch.0,
        in_sync: ids(&outcome.in_sync),
        copies_before: outcome.copies_before,
        copies_after: outcome.copies_after,
        failures_left: outcome.failures_left,
        readable: outcome.readable,
        writable: outcome.writable,
        more: Document::new(),
    }
}

fn counts(summary: &Summary) -> PartitionCounts {
    PartitionCounts {
        partitions: summary.partitions,
        without_primary: summary.without_primary,
        below_min_in_sync: summary.below_min_in_sync,
        under_replicated: summary.under_replicated,
        catching_up: summary.catching_up,
        members: summary.members,
        members_down: summary.members_down,
        more: Document::new(),
    }
}

/// `GET /v1/cluster/checksums?table=`
pub(crate) fn checksums(map: &ClusterMap, table: &str, sums: &[PartitionChecksums]) -> Checksums {
    let replica = |(storage, sum): &(StorageId, Result<u64, String>)| ReplicaChecksum {
        node: name(map, *storage),
        id: storage.to_string(),
        checksum: sum.as_ref().ok().map(|sum| format!("{sum:016x}")),
        error: sum.as_ref().err().cloned(),
    };
    let partition = |sums: &PartitionChecksums| PartitionChecksum {
        partition: sums.partition.partition,
        index: sums.index,
        equal: sums.equal,
        replicas: sums.replicas.iter().map(replica).collect(),
        more: Document::new(),
    };
    Checksums {
        table: table.to_owned(),
        equal: sums.iter().all(|sums| sums.equal),
        partitions: sums.iter().map(partition).collect(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tablestore_placement::{Epoch, PartitionId};

    use super::*;

    #[test]
    fn a_dry_run_is_shown_as_the_planners_say_it_with_ids_as_text() {
        let outcome = PartitionOutcome {
            partition: PartitionId::from_u64(3 << 32 | 17),
            table: "orders".to_owned(),
            primary: Some(StorageId(u64::MAX)),
            next_primary: None,
            epoch: Epoch(4),
            in_sync: vec![StorageId(9)],
            copies_before: 2,
            copies_after: 1,
            failures_left: 0,
            readable: true,
            writable: false,
        };
        let before = Summary {
            partitions: 8,
            without_primary: 1,
            below_min_in_sync: 2,
            under_replicated: 3,
            catching_up: 4,
            members: 5,
            members_down: 6,
        };
        let said = Explanation {
            failed: vec![StorageId(10), StorageId(9)],
            partitions: vec![outcome],
            failovers: 1,
            offices_gained: [(StorageId(9), 1), (StorageId(10), 2)].into(),
            before,
            after: Summary::default(),
            copying_refused: Some("too many".to_owned()),
            voters: 3,
            voters_left: 1,
            majority: false,
        };
        let shown = value(&explanation(&said));
        let text = |id: u64| format!("{id:016x}");
        assert_eq!(shown["failed"], json!([text(10), text(9)]));
        assert_eq!(shown["partitions"][0]["primary"], json!(text(u64::MAX)));
        let gained = json!({(text(9)): 1, (text(10)): 2});
        assert_eq!(shown["offices_gained"], gained);
        let (said, same) = (json!(said), ["before", "after", "failovers", "majority"]);
        for member in same {
            assert_eq!(shown[member], said[member], "{member}");
        }
        let read = serde_json::from_value::<ExplanationView>(shown.clone());
        assert_eq!(value(&read.expect("a client reads it")), shown);
    }
}
