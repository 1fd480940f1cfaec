//! On whom a decision may rely: those who have answered this leader, with replicas that work.

use super::*;

#[test]
fn a_new_leader_gives_itself_no_office_of_a_replica_that_has_stopped() {
    let mut bench = Bench::with(&definition(8, 2, 1));
    let mine: Vec<_> = bench
        .map
        .partitions()
        .filter(|(_, _, a)| a.primary_member() == Some(SECOND) && a.in_sync.contains(&ME))
        .map(|(partition, ..)| partition)
        .collect();
    assert!(!mine.is_empty());
    bench.mine = mine.iter().map(stopped).collect();
    bench.run(ms(250));
    bench.hint(SECOND);
    bench.lead(1);
    let proposals = bench.proposals();
    let (_, down) = proposals.first().expect("the second is gone");
    let change = down.change(&Strategies::built_in(), &bench.map);
    let given = change.expect("a member is gone").assignments;
    assert!(given.iter().all(|change| !mine.contains(&change.partition)));
}

fn stopped(partition: &PartitionId) -> ReplicaProgress {
    ReplicaProgress {
        partition: *partition,
        epoch: Epoch(1),
        end: 0,
        stopped: Some("its rows are lost".to_owned()),
    }
}

#[test]
fn a_replica_that_has_stopped_is_not_left_alone_in_the_set() {
    let mut bench = Bench::with(&definition(8, 2, 1));
    bench.run(ms(250));
    bench.lead(1);
    let of_third: Vec<_> = bench
        .map
        .partitions()
        .filter(|(_, _, a)| a.primary_member() == Some(SECOND) && a.in_sync.contains(&THIRD))
        .map(|(partition, ..)| partition)
        .collect();
    assert!(!of_third.is_empty());
    let answer = SignOfWork {
        incarnation: START,
        replicas: of_third.iter().map(stopped).collect(),
        ..SignOfWork::default()
    };
    // In the same moment: the others are not taken from the sets yet.
    let (node, sent) = (THIRD, bench.at);
    bench.handle(Input::Answered { node, sent, answer });
    bench.hint(SECOND);
    let proposals = bench.proposals();
    let down = proposals.iter().find(|(_, p)| p.job == Job::Down(SECOND));
    let (_, down) = down.expect("the second is gone");
    let change = down.change(&Strategies::built_in(), &bench.map);
    let given = change.expect("a member is gone").assignments;
    assert!(
        given
            .iter()
            .all(|change| !of_third.contains(&change.partition))
    );
}

#[test]
fn nobody_is_given_an_office_before_this_leader_has_heard_it() {
    let mut bench = Bench::with(&definition(8, 2, 1));
    let third_alone = |map: &ClusterMap| {
        let mut offices = map.partitions().map(|(_, _, a)| a);
        offices.any(|a| a.primary_member() == Some(THIRD) && a.in_sync == [THIRD])
    };
    let with_third: Vec<_> = bench
        .map
        .partitions()
        .filter(|(_, _, a)| a.primary_member() == Some(SECOND) && a.in_sync.contains(&THIRD))
        .map(|(partition, ..)| partition)
        .collect();
    assert!(!with_third.is_empty());

    // The third died while nobody led; the second starts anew.
    bench.reached.remove(&THIRD);
    bench.run(ms(500));
    bench.lead(1);
    bench.hint(SECOND);
    bench.decide();
    assert_eq!(bench.map.members[&SECOND].state, MemberState::Down);
    assert!(!third_alone(&bench.map), "it may be gone");
    let mut back = registration(2, "", 1);
    (back.start, back.incarnation) = (2, Incarnation(2));
    bench.apply(&Command::Register(back));
    for _ in 0..100 {
        bench.run(ms(50));
        bench.decide();
        assert!(!third_alone(&bench.map), "it is gone");
    }
    assert_eq!(bench.map.members[&THIRD].state, MemberState::Down);
    for partition in with_third {
        let assignment = bench.map.assignment(partition).expect("the table stays");
        let office = Office {
            member: SECOND,
            incarnation: Incarnation(2),
        };
        assert_eq!(assignment.primary, Some(office), "{partition}");
    }
}

/// The second is gone: whether the third is to serve anything in its place.
fn third_takes_over(bench: &Bench) -> bool {
    let proposals = bench.proposals();
    let down = proposals.iter().find(|(_, p)| p.job == Job::Down(SECOND));
    let (_, down) = down.expect("the second is gone");
    let change = down.change(&Strategies::built_in(), &bench.map);
    let given = change.expect("a member is gone").assignments;
    given
        .iter()
        .any(|change| change.next.primary == Some(THIRD))
}

#[test]
fn nobody_is_given_an_office_on_the_word_of_its_pings() {
    let mut bench = Bench::with(&definition(8, 2, 1));
    bench.run(ms(250));
    bench.reached.remove(&THIRD);
    bench.hint(SECOND);
    bench.lead(1);
    assert!(!third_takes_over(&bench), "its rows may be lost");
    bench.decide();
    bench.reached.insert(THIRD);
    bench.run(ms(300));
    bench.decide();
    assert_eq!(bench.offices_of(SECOND), 0, "it has answered");
}

#[test]
fn whoever_lost_its_connection_is_given_no_office_before_it_answers_again() {
    let mut bench = Bench::with(&definition(8, 2, 1));
    bench.lead(1);
    bench.run(ms(250));
    bench.reached.remove(&THIRD);
    let (storage, incarnation) = (THIRD, START);
    bench.handle(Input::Link(LinkNews::Lost {
        storage,
        incarnation,
    }));
    bench.hint(SECOND);
    assert!(!third_takes_over(&bench), "it may be gone as well");
    bench.decide();
    bench.reached.insert(THIRD);
    bench.run(ms(300));
    bench.decide();
    assert_eq!(bench.offices_of(SECOND), 0, "it has answered");
}
