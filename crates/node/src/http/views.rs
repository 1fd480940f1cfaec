//! The cluster map as clients see it: members, partitions, decisions, checksums.
//!
//! Pure functions of what they are given. Members are named; where a name was taken over by
//! another member, and beside every name, stands the storage id.

use axum::Json;
use serde::Serialize;
use serde_json::Value;
use tablestore_contract::{
    AssignmentView, Change, Checksums, ClusterView, Decision as DecisionView, Decisions, Document,
    NodeView, PartitionChecksum, Partitions, Phase, ReplicaChecksum,
};
use tablestore_placement::{
    Assignment, ClusterMap, Decision, DecisionKind, Member, MemberState, PartitionChange,
    StorageId, Table,
};

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
    controller: Option<StorageId>,
    resources: impl Fn(StorageId) -> Value,
) -> ClusterView {
    let members = map.members.values();
    ClusterView {
        cluster: map.cluster.to_string(),
        map_version: map.version.0,
        controller: controller.map(|id| name(map, id)),
        controller_id: controller.map(|id| id.to_string()),
        nodes: members
            .map(|node| member(node, resources(node.storage)))
            .collect(),
        tables: map
            .tables
            .values()
            .map(|one| value(&definition::show(one)))
            .collect(),
        more: Document::new(),
    }
}

fn member(member: &Member, resources: Value) -> NodeView {
    NodeView {
        id: member.storage.to_string(),
        name: member.name.clone(),
        state: state(member.state).to_owned(),
        since_ms: member.since_ms,
        address: member.http_address.clone(),
        peer_address: member.peer_address.clone(),
        zone: Some(member.zone.clone()),
        weight: member.weight,
        incarnation: member.incarnation.0,
        resources,
        more: Document::new(),
    }
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
    let ids = |storages: &[StorageId]| -> Vec<String> {
        storages.iter().map(StorageId::to_string).collect()
    };
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
