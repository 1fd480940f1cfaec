//! Replicas of active tables come and go one at a time, and through a step in which both sets
//! serve.

use crate::check::{self, Rule};
use crate::plan::*;
use crate::testing::{carry_out, catch_up, cluster, create_table, definition, registration};
use crate::*;

const FIRST: PartitionId = PartitionId {
    table: TableId(1),
    partition: 0,
};

fn with_nodes(count: usize) -> ClusterMap {
    let mut map = cluster(&vec![("", 1); count]);
    let active = TableDefinition {
        strategy: ACTIVE.to_owned(),
        ..definition(1, 3, 2)
    };
    create_table(&mut map, "visits", &active).unwrap();
    map
}

fn ids<const N: usize>(numbers: [u64; N]) -> Vec<StorageId> {
    numbers.map(StorageId).to_vec()
}

fn first(map: &ClusterMap) -> Assignment {
    map.assignment(FIRST).unwrap().clone()
}

fn register(map: &mut ClusterMap, number: u64) {
    let new = Command::Register(registration(number, "", 1));
    map.apply(&new).unwrap();
}

fn dies(map: &mut ClusterMap, number: u64) {
    let dead = StorageId(number);
    let plan = on_member_down(&Strategies::built_in(), map, dead, Incarnation(1));
    carry_out(map, plan).unwrap();
}

#[test]
fn a_drained_replica_serves_until_its_successor_is_whole() {
    let mut map = with_nodes(3);
    register(&mut map, 4);
    let strategies = Strategies::built_in();
    let plan = drain(&strategies, &map, StorageId(2), CopyCaps::DEFAULT);
    carry_out(&mut map, plan).unwrap();
    let step = first(&map);
    assert_eq!(step.epoch, Epoch(2));
    assert_eq!(step.in_sync.len(), 3);
    assert!(step.in_sync.contains(&StorageId(2)));
    assert_eq!(step.joiner(), Some(StorageId(4)));
    assert_eq!(step.replicas.last(), Some(&StorageId(2)));
    let again = drain(&strategies, &map, StorageId(2), CopyCaps::DEFAULT);
    assert!(again.assignments.is_empty(), "one step at a time");
    assert!(drop_surplus(&map).is_empty() && !drain_done(&map, StorageId(2)));
    catch_up(&mut map);
    let mut then = first(&map);
    then.replicas.sort_unstable();
    assert_eq!((then.epoch, then.replicas), (Epoch(3), ids([1, 3, 4])));
    assert!(drain_done(&map, StorageId(2)));
}

#[test]
fn a_replica_on_a_dead_member_is_replaced_and_one_that_is_missing_is_added() {
    let mut map = with_nodes(2);
    assert_eq!(first(&map).in_sync.len(), 2);
    register(&mut map, 3);
    let plan = fill(&map, CopyCaps::DEFAULT);
    carry_out(&mut map, plan).unwrap();
    assert_eq!(first(&map).joiner(), Some(StorageId(3)));
    catch_up(&mut map);
    assert_eq!(first(&map).in_sync.len(), 3);
    register(&mut map, 4);
    dies(&mut map, 1);
    let plan = rereplicate(&map, &ids([1]), CopyCaps::DEFAULT);
    carry_out(&mut map, plan).unwrap();
    catch_up(&mut map);
    let mut then = first(&map).replicas;
    then.sort_unstable();
    assert_eq!(then, ids([2, 3, 4]));
    assert_eq!(
        remove(&map, StorageId(1)).map(|plan| plan.members.len()),
        Ok(1)
    );
}

#[test]
fn where_there_is_no_other_member_a_replica_stays_and_the_plan_says_so() {
    let mut map = with_nodes(3);
    dies(&mut map, 1);
    let plan = rereplicate(&map, &ids([1]), CopyCaps::DEFAULT);
    assert!(plan.is_empty());
    assert_eq!(
        plan.reasons,
        ["1 partitions have no other member for a replica"]
    );
}

#[test]
fn a_new_replica_that_dies_before_it_is_whole_is_given_up_for_another() {
    let mut map = with_nodes(3);
    register(&mut map, 4);
    dies(&mut map, 1);
    let plan = rereplicate(&map, &ids([1]), CopyCaps::DEFAULT);
    carry_out(&mut map, plan).unwrap();
    dies(&mut map, 4);
    catch_up(&mut map);
    assert_eq!(
        first(&map).joiner(),
        Some(StorageId(4)),
        "the dead do not join"
    );
    let plan = rereplicate(&map, &ids([1, 4]), CopyCaps::DEFAULT);
    carry_out(&mut map, plan).unwrap();
    assert_eq!(first(&map).replicas.len(), 3);
    register(&mut map, 5);
    let plan = rereplicate(&map, &ids([1, 4]), CopyCaps::DEFAULT);
    carry_out(&mut map, plan).unwrap();
    catch_up(&mut map);
    let mut then = first(&map).replicas;
    then.sort_unstable();
    assert_eq!(then, ids([2, 3, 5]));
}

#[test]
fn steps_that_could_part_two_quorums_are_refused_by_name() {
    let mut map = with_nodes(3);
    register(&mut map, 4);
    register(&mut map, 5);
    let active = map.tables[&FIRST.table].definition.clone();
    let before = first(&map);
    let next = |replicas: &[u64], in_sync: &[u64]| {
        let of = |all: &[u64]| all.iter().copied().map(StorageId).collect();
        let next = NextAssignment {
            primary: None,
            replicas: of(replicas),
            in_sync: of(in_sync),
        };
        check::next(&map, &active, &before, &next, &[]).map(|after| after.epoch)
    };
    let [a, b, c] = before.in_sync[..] else {
        panic!("{before:?}")
    };
    let all = [a.0, b.0, c.0];
    assert_eq!(next(&[a.0, b.0, 4, c.0], &all), Ok(Epoch(2)));
    let refused = Err(Rule::ActiveOneStep);
    let gone = [&[a.0, b.0, 4][..], &[a.0, b.0]];
    for replicas in gone {
        let within = Err(Rule::InSyncWithinReplicas);
        assert_eq!(next(replicas, &all), within, "{replicas:?}");
        assert_eq!(next(replicas, &[a.0, b.0]), refused, "{replicas:?}");
    }
    for replicas in [&[4, 5, a.0, b.0, c.0][..], &[a.0, b.0, c.0, 4]] {
        assert_eq!(next(replicas, &all), refused, "{replicas:?}");
    }
}

#[test]
fn only_the_new_replica_in_its_current_start_ends_the_step_of_that_very_change() {
    let mut map = with_nodes(3);
    register(&mut map, 4);
    let plan = drain(
        &Strategies::built_in(),
        &map,
        StorageId(2),
        CopyCaps::DEFAULT,
    );
    carry_out(&mut map, plan).unwrap();
    let step = first(&map);
    let then = step.replicas_after(3).unwrap();
    let ask = |member: u64, incarnation: u64, epoch: u64, in_sync: &[StorageId]| {
        let command = Command::ProposeInSync {
            partition: FIRST,
            epoch: Epoch(epoch),
            version: step.version,
            office: Office {
                member: StorageId(member),
                incarnation: Incarnation(incarnation),
            },
            in_sync: in_sync.to_vec(),
            joiner: None,
            at_ms: 0,
        };
        map.clone().apply(&command).map(|_| ())
    };
    assert_eq!(ask(4, 1, 2, &then), Ok(()));
    assert!(matches!(
        ask(1, 1, 2, &then),
        Err(Refused::RuleBroken { .. })
    ));
    assert!(matches!(
        ask(4, 0, 2, &then),
        Err(Refused::StaleIncarnation { .. })
    ));
    assert!(matches!(
        ask(4, 1, 1, &then),
        Err(Refused::StaleAssignment { .. })
    ));
    let wrong = ask(4, 1, 2, &step.replicas);
    assert!(matches!(wrong, Err(Refused::RuleBroken { .. })));
}
