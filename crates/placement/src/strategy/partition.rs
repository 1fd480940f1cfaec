//! The strategy of tables on shared storage: exactly one owner per partition, and no copies. When
//! it fails any member that is up takes over. Knows nothing of the storage.

use super::{DataPath, Happening, NewTable, Reaction, Strategy};
use crate::plan::{Seat, fill_seats, first_assignments};
use crate::{
    Assignment, ClusterMap, Member, MemberState, NextAssignment, PartitionId, StorageId, Table,
    TableDefinition,
};

/// One owner, which is the only replica; its successor is chosen from all members.
#[derive(Clone, Copy, Debug, Default)]
pub struct Partition;

impl Strategy for Partition {
    fn data_path(&self) -> DataPath {
        DataPath::SingleOwner
    }

    fn assign(&self, map: &ClusterMap, table: &NewTable<'_>) -> Vec<NextAssignment> {
        let alone = TableDefinition {
            replicas: 1,
            min_in_sync: 1,
            ..table.definition.clone()
        };
        let table = NewTable {
            id: table.id,
            definition: &alone,
        };
        first_assignments(map, &table)
    }

    fn react(&self, map: &ClusterMap, table: &Table, happening: &Happening<'_>) -> Vec<Reaction> {
        let seat = |(number, current): (u32, &Assignment)| {
            let partition = PartitionId::new(table.id, number);
            let owner = current.primary_member();
            let barred = barred(partition, owner, happening);
            let vacant = !map.is_filled(current.primary) && may_fill(owner, happening);
            (barred || vacant).then(|| Seat {
                partition,
                candidates: candidates(map, owner, barred),
                holder: None,
            })
        };
        let mut seats: Vec<Seat> = (0u32..).zip(&table.partitions).filter_map(seat).collect();
        // Without anybody else who could do it, all stays as it is.
        seats.retain(|seat| !seat.candidates.is_empty());
        let chosen = fill_seats(map, table.id, &seats, usize::MAX);
        chosen
            .into_iter()
            .map(|(partition, owner)| Reaction {
                partition,
                next: NextAssignment::owned_by(owner),
                reason: reason(happening).to_owned(),
            })
            .collect()
    }
}

impl NextAssignment {
    /// One owner, and no copies anywhere else.
    pub(crate) fn owned_by(owner: StorageId) -> Self {
        Self {
            primary: Some(owner),
            replicas: vec![owner],
            in_sync: vec![owner],
        }
    }
}

/// Whether the owner of a partition must not stay, though it lives.
fn barred(partition: PartitionId, owner: Option<StorageId>, happening: &Happening<'_>) -> bool {
    match happening {
        Happening::OfficesOff { member, .. } => owner == Some(*member),
        Happening::ReplicasStopped(stopped) => {
            owner.is_some_and(|owner| stopped.contains(&(partition, owner)))
        }
        _ => false,
    }
}

/// Whether this is the time to fill a vacant office. Nobody has to report anything first: what was
/// acknowledged is in the storage.
fn may_fill(owner: Option<StorageId>, happening: &Happening<'_>) -> bool {
    match happening {
        Happening::MembersDown(_) | Happening::ColdStart(_) => true,
        Happening::Restarted(member) => owner == Some(*member),
        _ => false,
    }
}

/// Who may take the office: the members that work well, or else any that is up, or else the owner.
fn candidates(map: &ClusterMap, owner: Option<StorageId>, barred: bool) -> Vec<StorageId> {
    let up = |member: &&Member| {
        let excluded = barred && Some(member.storage) == owner;
        member.state == MemberState::Up && !excluded
    };
    let up: Vec<&Member> = map.members.values().filter(up).collect();
    let well = up.iter().filter(|member| member.is_placeable());
    let well: Vec<StorageId> = well.map(|member| member.storage).collect();
    if !well.is_empty() {
        return well;
    }
    if !up.is_empty() {
        return up.iter().map(|member| member.storage).collect();
    }
    let stays = owner.filter(|owner| !barred && map.is_live(*owner));
    stays.into_iter().collect()
}

fn reason(happening: &Happening<'_>) -> &'static str {
    match happening {
        Happening::MembersDown(_) => "another member takes over from a dead owner",
        Happening::Restarted(_) => "the owner has restarted and lost its office",
        Happening::OfficesOff { .. } => "the office moves to another member",
        Happening::ReplicasStopped(_) => "the office moves away from an owner that has stopped",
        Happening::ColdStart(_) => "the office was vacant",
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::testing::{cluster, definition};
    use crate::{AssignmentVersion, Epoch, PARTITION, TableId, check};

    /// Four members and a table of eight partitions.
    fn with_table() -> (ClusterMap, TableId) {
        let mut map = cluster(&[("", 1), ("", 1), ("", 1), ("", 1)]);
        let definition = TableDefinition {
            strategy: PARTITION.to_owned(),
            ..definition(8, 1, 1)
        };
        let id = TableId(map.next_table);
        let new = NewTable {
            id,
            definition: &definition,
        };
        let first = |next: &NextAssignment| Assignment {
            epoch: Epoch(1),
            ..check::resolve(&map, &Assignment::default(), next)
        };
        let partitions: Vec<_> = Partition.assign(&map, &new).iter().map(first).collect();
        for assignment in &partitions {
            assert_eq!(assignment.version, AssignmentVersion(1));
            check::creation(&map, &definition, assignment).expect("it keeps the rules");
        }
        let table = Table {
            id,
            name: "owned".to_owned(),
            definition,
            partitions,
            founded: None,
        };
        map.tables.insert(id, table);
        (map, id)
    }

    fn owners(map: &ClusterMap, id: TableId) -> Vec<StorageId> {
        let owner = |assignment: &Assignment| assignment.primary_member().expect("an owner");
        map.tables[&id].partitions.iter().map(owner).collect()
    }

    /// Carries out what the strategy answers, by the rules of the framework.
    fn carry_out(map: &mut ClusterMap, id: TableId, happening: &Happening<'_>) -> usize {
        let reactions = Partition.react(map, &map.tables[&id], happening);
        for reaction in &reactions {
            let table = &map.tables[&id];
            let at = reaction.partition.partition as usize;
            let next = check::next(
                map,
                &table.definition,
                &table.partitions[at],
                &reaction.next,
                &[],
            );
            let next = next.expect("it keeps the rules");
            map.tables.get_mut(&id).expect("the table").partitions[at] = next;
        }
        reactions.len()
    }

    #[test]
    fn all_other_members_share_the_offices_of_a_dead_owner() {
        let (mut map, id) = with_table();
        let before = owners(&map, id);
        let dead = before[0];
        let held = before.iter().filter(|owner| **owner == dead).count();
        assert_eq!(held, 2, "eight partitions on four members");
        map.members.get_mut(&dead).expect("a member").state = MemberState::Down;
        let happening = Happening::MembersDown(&[dead]);
        assert_eq!(carry_out(&mut map, id, &happening), held);
        let after = owners(&map, id);
        let heirs: BTreeSet<_> = (before.iter().zip(&after))
            .filter(|(before, after)| before != after)
            .map(|(_, after)| *after)
            .collect();
        assert_eq!(heirs.len(), held, "different ones take over");
        assert!(!after.contains(&dead));
        assert_eq!(carry_out(&mut map, id, &happening), 0);
    }

    #[test]
    fn the_last_member_owns_everything_and_a_drained_one_nothing() {
        let (mut map, id) = with_table();
        let drained = owners(&map, id)[0];
        map.members.get_mut(&drained).expect("a member").state = MemberState::Draining;
        let off = Happening::OfficesOff {
            member: drained,
            leaves: false,
        };
        assert_eq!(carry_out(&mut map, id, &off), 2);
        assert!(!owners(&map, id).contains(&drained));
        let all: Vec<_> = map.members.keys().copied().collect();
        let (last, dead) = all.split_last().expect("members");
        for member in dead {
            map.members.get_mut(member).expect("a member").state = MemberState::Down;
        }
        map.members.get_mut(last).expect("a member").state = MemberState::Up;
        carry_out(&mut map, id, &Happening::MembersDown(dead));
        assert!(owners(&map, id).iter().all(|owner| owner == last));
    }
}
