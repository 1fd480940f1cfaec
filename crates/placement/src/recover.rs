//! Founding a new cluster from what one member has, when a majority of the voters is lost for good:
//! what is known to be whole, what may be missing, and the map to begin with. Knows nothing of
//! files, nor of how a map is agreed on.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::{
    Assignment, ClusterId, ClusterMap, DataPath, Decision, DecisionKind, Epoch, Member,
    MemberState, Office, PartitionId, StorageId, Table,
};

/// What a member has of one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kept {
    /// The newest epoch that its replica took part in.
    pub adopted: Epoch,
    /// The end of its log.
    pub end: u64,
    /// Whether its files can be used.
    pub usable: bool,
}

/// What would become of one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Salvage {
    /// Every write is here that was acknowledged while the map was the newest: the member was in
    /// sync, or its rows lie in a storage that it shared with the others.
    Whole,
    /// Acknowledged writes may be missing: the member was not in sync, or of an active table a
    /// majority of the others may have answered without it.
    MayLack,
    /// Nothing of it is here, or nothing that can be used: it begins without rows.
    Gone,
}

/// What would become of one table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableSalvage {
    /// Its name.
    pub table: String,
    /// Its strategy.
    pub strategy: String,
    /// Of each partition.
    pub partitions: Vec<(PartitionId, Salvage)>,
}

impl TableSalvage {
    /// The partitions to which this happens.
    pub fn with(&self, what: Salvage) -> impl Iterator<Item = PartitionId> + '_ {
        let partitions = self.partitions.iter();
        let these = partitions.filter(move |(_, salvage)| *salvage == what);
        these.map(|(partition, _)| *partition)
    }
}

impl ClusterMap {
    /// The cluster under whose name the rows lie in a storage that members share: this one, or the
    /// one from which it was recovered.
    #[must_use]
    pub fn shared_cluster(&self) -> ClusterId {
        self.shared_as.unwrap_or(self.cluster)
    }
}

/// What would become of every table if a cluster were founded of `me` alone, which has `kept`.
#[must_use]
pub fn salvage(
    map: &ClusterMap,
    me: StorageId,
    kept: &BTreeMap<PartitionId, Kept>,
) -> Vec<TableSalvage> {
    let of_table = |table: &Table| TableSalvage {
        table: table.name.clone(),
        strategy: table.definition.strategy.clone(),
        partitions: (0..)
            .zip(&table.partitions)
            .map(|(number, held)| {
                let partition = PartitionId::new(table.id, number);
                let path = table.definition.data_path();
                (partition, of_one(path, held, me, kept.get(&partition)))
            })
            .collect(),
    };
    map.tables.values().map(of_table).collect()
}

fn of_one(path: DataPath, held: &Assignment, me: StorageId, kept: Option<&Kept>) -> Salvage {
    if path == DataPath::SingleOwner {
        return Salvage::Whole;
    }
    if !kept.is_some_and(|kept| kept.usable) {
        return Salvage::Gone;
    }
    let has_all = match path {
        DataPath::Active => held.in_sync == [me],
        _ => held.in_sync.contains(&me),
    };
    match has_all {
        true => Salvage::Whole,
        false => Salvage::MayLack,
    }
}

/// The map of a new cluster of `me` alone, with the tables and decisions of this one. All others
/// are retired; every partition gets an epoch above all that it was in. What lies in a storage that
/// members share stays where it is, under the name of the cluster that founded it.
///
/// Nothing if `me` is no member.
#[must_use]
pub fn recovered(
    map: &ClusterMap,
    me: StorageId,
    cluster: ClusterId,
    kept: &BTreeMap<PartitionId, Kept>,
    at_ms: u64,
) -> Option<ClusterMap> {
    let member = map.members.get(&me)?;
    let mut next = map.clone();
    next.cluster = cluster;
    next.shared_as = Some(map.shared_as.unwrap_or(map.cluster));
    next.version = map.version.next();
    let others = map.members.keys().filter(|member| **member != me);
    next.retired.extend(others);
    let alone = Member {
        state: MemberState::Up,
        since_ms: at_ms,
        replaced_by: None,
        ..member.clone()
    };
    next.members = BTreeMap::from([(me, alone)]);
    let office = Office {
        member: me,
        incarnation: member.incarnation,
    };
    for table in next.tables.values_mut() {
        let has_offices = table.definition.data_path().has_offices();
        for (number, held) in (0..).zip(&mut table.partitions) {
            let partition = PartitionId::new(table.id, number);
            let adopted = kept.get(&partition).map_or(Epoch(0), |kept| kept.adopted);
            *held = Assignment {
                epoch: held.epoch.max(adopted).next(),
                version: held.version.next(),
                primary: has_offices.then_some(office),
                replicas: vec![me],
                in_sync: vec![me],
            };
        }
    }
    let told = told(map, me, &salvage(map, me, kept));
    let decision = Decision {
        id: next.next_decision,
        ..Decision::new(DecisionKind::Recovered, at_ms)
            .about(me)
            .on_evidence(told)
            .because("a new cluster was founded by order from what this member had")
    };
    next.next_decision += 1;
    next.decisions.push_back(Arc::new(decision));
    while next.decisions.len() > crate::DECISIONS_KEPT {
        next.decisions.pop_front();
    }
    Some(next)
}

/// What was given up, in one line.
fn told(map: &ClusterMap, me: StorageId, tables: &[TableSalvage]) -> String {
    let count = |what| tables.iter().flat_map(|table| table.with(what)).count();
    let others = map.members.values().filter(|member| member.storage != me);
    let others: Vec<&str> = others.map(|member| member.name.as_str()).collect();
    format!(
        "the cluster was {} at map version {}; left out: {}; partitions whole {}, that may lack \
         acknowledged writes {}, without their rows {}",
        map.cluster,
        map.version,
        if others.is_empty() {
            "nobody".to_owned()
        } else {
            others.join(", ")
        },
        count(Salvage::Whole),
        count(Salvage::MayLack),
        count(Salvage::Gone),
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail by panic")]
    use super::*;
    use crate::testing::{cluster, create_table, definition};
    use crate::{ACTIVE, TableDefinition};

    const USABLE: Kept = Kept {
        adopted: Epoch(9),
        end: 5,
        usable: true,
    };

    fn three() -> (ClusterMap, StorageId) {
        let mut map = cluster(&[("a", 1), ("b", 1), ("c", 1)]);
        create_table(&mut map, "orders", &definition(4, 3, 2)).unwrap();
        let gates = TableDefinition {
            strategy: ACTIVE.to_owned(),
            ..definition(2, 3, 2)
        };
        create_table(&mut map, "gates", &gates).unwrap();
        let me = *map.members.keys().next().unwrap();
        (map, me)
    }

    fn all_kept(map: &ClusterMap) -> BTreeMap<PartitionId, Kept> {
        map.partitions().map(|(id, ..)| (id, USABLE)).collect()
    }

    #[test]
    fn what_is_lost_is_told_for_each_partition() {
        let (mut map, me) = three();
        let mut kept = all_kept(&map);
        let orders = map.table_named("orders").unwrap().id;
        kept.remove(&PartitionId::new(orders, 1));
        kept.get_mut(&PartitionId::new(orders, 2)).unwrap().usable = false;
        let behind = &mut map.tables.get_mut(&orders).unwrap().partitions[3];
        behind.in_sync.retain(|member| *member != me);
        let told = salvage(&map, me, &kept);
        let of = |table: &TableSalvage| -> Vec<Salvage> {
            table.partitions.iter().map(|(_, what)| *what).collect()
        };
        use Salvage::{Gone, MayLack, Whole};
        assert_eq!(of(&told[0]), [Whole, Gone, Gone, MayLack]);
        assert_eq!(of(&told[1]), [MayLack, MayLack], "others may have answered");
        let next = recovered(&map, me, ClusterId(7), &kept, 5).unwrap();
        let decision = next.decisions.back().unwrap();
        let end = "partitions whole 1, that may lack acknowledged writes 3, without their rows 2";
        assert!(decision.evidence.ends_with(end), "{}", decision.evidence);
        assert_eq!(decision.kind, DecisionKind::Recovered);
    }

    #[test]
    fn the_new_cluster_has_one_member_and_epochs_above_all_that_were() {
        let (map, me) = three();
        let kept = all_kept(&map);
        let next = recovered(&map, me, ClusterId(7), &kept, 5).unwrap();
        assert_eq!(
            (next.cluster, next.shared_as),
            (ClusterId(7), Some(map.cluster))
        );
        assert_eq!(next.members.keys().collect::<Vec<_>>(), [&me]);
        assert_eq!(next.retired.len(), 2);
        for (partition, table, held) in next.partitions() {
            let before = map.assignment(partition).unwrap();
            assert!(held.epoch > before.epoch && held.epoch > USABLE.adopted);
            assert!(held.version > before.version);
            assert_eq!((&held.replicas, &held.in_sync), (&vec![me], &vec![me]));
            let is_filled = next.is_filled(held.primary);
            assert_eq!(is_filled, table.definition.data_path().has_offices());
        }
        let again = recovered(&next, me, ClusterId(8), &kept, 6).unwrap();
        assert_eq!(again.shared_as, Some(map.cluster));
        assert_eq!(recovered(&map, StorageId(99), ClusterId(7), &kept, 5), None);
    }
}
