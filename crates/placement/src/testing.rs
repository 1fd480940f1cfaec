//! Small maps to try things on. For tests only.

use crate::{
    Applied, ClusterId, ClusterMap, Command, Decision, DecisionKind, Incarnation, KeyDefinition,
    KeyType, Layout, Office, PRIMARY_BACKUP, PartitionId, Refused, Registration, StorageId,
    Strategies, TableDefinition, TableId, plan,
};

/// A table of `partitions` × `replicas` with one string key.
#[must_use]
pub fn definition(partitions: u32, replicas: u32, min_in_sync: u32) -> TableDefinition {
    TableDefinition {
        partition_key: KeyDefinition {
            name: "id".to_owned(),
            key_type: KeyType::String,
        },
        sort_key: None,
        strategy: PRIMARY_BACKUP.to_owned(),
        replicas,
        min_in_sync,
        partitions,
        layout: Layout::Row,
    }
}

/// The registration of the first start of member `number`, named `n<number>`.
#[must_use]
pub fn registration(number: u64, zone: &str, weight: u32) -> Registration {
    Registration {
        storage: StorageId(number),
        name: format!("n{number}"),
        http_address: format!("127.0.0.1:{}", 7000 + number),
        peer_address: format!("127.0.0.1:{}", 8000 + number),
        zone: zone.to_owned(),
        weight,
        incarnation: Incarnation(1),
        start: 0,
        begun: Vec::new(),
        boot: 1,
        at_ms: 0,
    }
}

/// A founded cluster with one member for each (zone, weight), numbered from 1.
#[must_use]
pub fn cluster(members: &[(&str, u32)]) -> ClusterMap {
    let mut map = ClusterMap::empty();
    let found = Command::Found {
        cluster: ClusterId(1),
        at_ms: 0,
    };
    map.apply(&found).expect("an empty map can be founded");
    for (number, (zone, weight)) in (1..).zip(members) {
        let register = Command::Register(registration(number, zone, *weight));
        map.apply(&register).expect("new members can register");
    }
    map
}

/// Creates a table with the assignments of the built-in planner.
pub fn create_table(
    map: &mut ClusterMap,
    name: &str,
    definition: &TableDefinition,
) -> Result<TableId, Refused> {
    let command = Command::CreateTable {
        name: name.to_owned(),
        definition: definition.clone(),
        assignments: plan::initial(&Strategies::built_in(), map, definition)
            .expect("a built-in strategy"),
        at_ms: 0,
    };
    Ok(map
        .apply(&command)?
        .table
        .expect("a created table has an id"))
}

/// Applies a plan as one change.
pub fn carry_out(map: &mut ClusterMap, plan: plan::Plan) -> Result<Applied, Refused> {
    let decision = Decision::new(DecisionKind::Rebalance, 0);
    map.apply(&Command::Change(plan.into_change(decision)))
}

/// Lets every live replica that is catching up join its in-sync set, as the primaries would ask.
pub fn catch_up(map: &mut ClusterMap) {
    catch_up_where(map, |_| true);
}

/// Ends the change of a partition of an active table: the new replica asks for it itself once it
/// has met enough of the others, or, where one leaves, one of those that stay.
fn join_active(map: &mut ClusterMap, partition: PartitionId) {
    let (Some(table), Some(current)) = (
        map.tables.get(&partition.table),
        map.assignment(partition).cloned(),
    ) else {
        return;
    };
    let then = current.replicas_after(table.definition.replicas);
    let stays = |s: &&StorageId| then.as_ref().is_some_and(|then| then.contains(s));
    let mut live = current.replicas.iter().filter(stays);
    let joiner = match current.joiner() {
        Some(joiner) => Some(joiner),
        None => live.find(|s| map.is_live(**s)).copied(),
    };
    let joiner = joiner.and_then(|s| map.members.get(&s));
    let (Some(in_sync), Some(joiner), false) =
        (then, joiner, table.definition.data_path().has_offices())
    else {
        return;
    };
    let met = current.in_sync.iter().filter(|s| map.is_live(**s)).count();
    if met * 2 < current.in_sync.len() {
        return;
    }
    let start = (joiner.storage, joiner.incarnation);
    // A member that is not live is refused.
    let _ = map.apply(&Command::ProposeInSync {
        partition,
        epoch: current.epoch,
        version: current.version,
        office: Office {
            member: start.0,
            incarnation: start.1,
        },
        in_sync,
        joiner: Some(start),
        at_ms: 0,
    });
}

/// The same, only in some of the partitions.
pub fn catch_up_where(map: &mut ClusterMap, mut wanted: impl FnMut(PartitionId) -> bool) {
    let partitions: Vec<_> = map
        .partitions()
        .map(|(partition, _, _)| partition)
        .filter(|partition| wanted(*partition))
        .collect();
    for partition in partitions {
        join_active(map, partition);
        let replicas = map
            .assignment(partition)
            .map(|a| a.replicas.clone())
            .unwrap_or_default();
        for joiner in replicas {
            let Some(assignment) = map.assignment(partition).cloned() else {
                continue;
            };
            let Some(office) = assignment.primary else {
                continue;
            };
            let Some(member) = map.members.get(&joiner) else {
                continue;
            };
            if assignment.in_sync.contains(&joiner) || !map.is_filled(Some(office)) {
                continue;
            }
            let mut in_sync = assignment.in_sync.clone();
            in_sync.push(joiner);
            // A member that is not up is refused, and stays a learner.
            let _ = map.apply(&Command::ProposeInSync {
                partition,
                epoch: assignment.epoch,
                version: assignment.version,
                office,
                in_sync,
                joiner: Some((joiner, member.incarnation)),
                at_ms: 0,
            });
        }
    }
}
