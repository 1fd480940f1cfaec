//! The cluster map as clients see it: members, partitions, decisions, checksums as JSON.
//!
//! Pure functions of what they are given. Members are named; where a name was taken over by
//! another member, and beside every name, stands the storage id.

use axum::Json;
use serde::Serialize;
use serde_json::{Value, json};
use tablestore_placement::{
    Assignment, ClusterMap, Decision, Member, MemberState, PartitionChange, StorageId, Table,
};

use super::definition;
use crate::api::PartitionChecksums;

/// A view as an answer, its members in the order of their names.
pub(crate) fn shown(view: &impl Serialize) -> Json<Value> {
    Json(serde_json::to_value(view).expect("a view has only string keys"))
}

/// `GET /v1/cluster`
pub(crate) fn cluster(
    map: &ClusterMap,
    controller: Option<StorageId>,
    resources: impl Fn(StorageId) -> Value,
) -> Value {
    let nodes: Vec<Value> = map
        .members
        .values()
        .map(|node| member(node, resources(node.storage)))
        .collect();
    let tables: Vec<_> = map.tables.values().map(definition::show).collect();
    json!({
        "cluster": map.cluster.to_string(),
        "map_version": map.version.0,
        "controller": controller.map(|id| name(map, id)),
        "controller_id": controller.map(|id| id.to_string()),
        "nodes": nodes,
        "tables": tables,
    })
}

fn member(member: &Member, resources: Value) -> Value {
    json!({
        "id": member.storage.to_string(),
        "name": member.name,
        "state": state(member.state),
        "since_ms": member.since_ms,
        "address": member.http_address,
        "peer_address": member.peer_address,
        "zone": member.zone,
        "weight": member.weight,
        "incarnation": member.incarnation.0,
        "resources": resources,
    })
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
pub(crate) fn partitions(map: &ClusterMap, table: &Table) -> Value {
    let partitions: Vec<Value> = (0u32..)
        .zip(&table.partitions)
        .map(|(number, assignment)| {
            let mut shown = self::assignment(map, assignment);
            shown["partition"] = json!(number);
            shown
        })
        .collect();
    json!({ "table": table.name, "partitions": partitions })
}

fn assignment(map: &ClusterMap, assignment: &Assignment) -> Value {
    let ids = |storages: &[StorageId]| -> Vec<String> {
        storages.iter().map(StorageId::to_string).collect()
    };
    json!({
        "epoch": assignment.epoch.0,
        "version": assignment.version.0,
        "primary": assignment.primary_member().map(|id| name(map, id)),
        "primary_id": assignment.primary_member().map(|id| id.to_string()),
        "primary_live": map.is_filled(assignment.primary),
        "replicas": names(map, &assignment.replicas),
        "replica_ids": ids(&assignment.replicas),
        "in_sync": names(map, &assignment.in_sync),
        "in_sync_ids": ids(&assignment.in_sync),
    })
}

/// `GET /v1/cluster/decisions`, newest first.
pub(crate) fn decisions(map: &ClusterMap, limit: usize) -> Value {
    let newest = map.decisions.iter().rev().take(limit);
    let decisions: Vec<Value> = newest.map(|one| decision(map, one)).collect();
    json!({ "decisions": decisions })
}

fn decision(map: &ClusterMap, decision: &Decision) -> Value {
    let changes: Vec<Value> = decision
        .changes
        .iter()
        .map(|one| change(map, one))
        .collect();
    json!({
        "id": decision.id,
        "at_ms": decision.at_ms,
        "kind": decision.kind,
        "subject": decision.subject.map(|id| name(map, id)),
        "subject_id": decision.subject.map(|id| id.to_string()),
        "evidence": decision.evidence,
        "reason": decision.reason,
        "phases": decision.phases,
        "changes": changes,
        "changes_total": decision.changes_total,
    })
}

fn change(map: &ClusterMap, change: &PartitionChange) -> Value {
    let table = map
        .tables
        .get(&change.partition.table)
        .map(|table| table.name.clone());
    json!({
        "table": table,
        "partition": change.partition.partition,
        "before": change.before.as_ref().map(|before| assignment(map, before)),
        "after": assignment(map, &change.after),
    })
}

/// `GET /v1/cluster/checksums?table=`
pub(crate) fn checksums(map: &ClusterMap, table: &str, sums: &[PartitionChecksums]) -> Value {
    let partition = |sums: &PartitionChecksums| {
        let replica = |(storage, sum): &(StorageId, Result<u64, String>)| {
            let (checksum, error) = match sum {
                Ok(sum) => (Some(format!("{sum:016x}")), None),
                Err(error) => (None, Some(error)),
            };
            json!({
                "node": name(map, *storage),
                "id": storage.to_string(),
                "checksum": checksum,
                "error": error,
            })
        };
        json!({
            "partition": sums.partition.partition,
            "index": sums.index,
            "equal": sums.equal,
            "replicas": sums.replicas.iter().map(replica).collect::<Vec<_>>(),
        })
    };
    json!({
        "table": table,
        "equal": sums.iter().all(|sums| sums.equal),
        "partitions": sums.iter().map(partition).collect::<Vec<_>>(),
    })
}
