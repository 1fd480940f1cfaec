//! Offices on shared storage whose owners stop, one after the other.

use super::*;

/// Each owner says that its partition has stopped, for so long; how often the office moved.
fn moves_within(bench: &mut Bench, partition: PartitionId, length: Duration) -> usize {
    let (end, mut moves) = (bench.at + length, 0);
    while bench.at < end {
        let current = bench.map.assignment(partition).expect("it is there");
        let owner = current.primary_member().expect("somebody has the office");
        let answer = has_stopped(partition, "the storage failed");
        bench.answered(owner, answer);
        let decided = bench.decide();
        moves += decided
            .iter()
            .filter(|(_, proposal)| proposal.job == Job::Stopped)
            .count();
    }
    moves
}

#[test]
fn an_office_whose_owners_all_stop_goes_on_at_once_and_then_ever_more_rarely() {
    let mut bench = Bench::with(&shared(4));
    bench.run(ms(500));
    bench.lead(1);
    bench.run(ms(1_500));
    bench.done.clear();
    let (partition, ..) = bench.map.partitions().next().expect("there are some");
    assert_eq!(moves_within(&mut bench, partition, ms(900)), 1, "at once");
    let within_a_minute = moves_within(&mut bench, partition, ms(60_000));
    assert!((4..=6).contains(&within_a_minute), "{within_a_minute}");
    let later = moves_within(&mut bench, partition, ms(600_000));
    assert!((8..=11).contains(&later), "one a minute: {later}");
    // One that works for a while is replaced at once when it stops.
    bench.run(ms(200_000));
    bench.done.clear();
    assert_eq!(moves_within(&mut bench, partition, ms(900)), 1);
}

#[test]
fn a_member_where_an_owner_stopped_is_given_no_office_for_an_even_spread_for_a_while() {
    let mut bench = Bench::with(&shared(8));
    bench.run(ms(500));
    bench.lead(1);
    bench.run(ms(8_000));
    bench.decide();
    assert_eq!(bench.offices_of(THIRD), 2, "its share, without a fraction");
    let of_third = |map: &ClusterMap| {
        let mut all = map.partitions();
        let found = all.find(|(_, _, a)| a.primary_member() == Some(THIRD));
        found.map(|(partition, ..)| partition)
    };
    let partition = of_third(&bench.map).expect("it has some");
    let answer = has_stopped(partition, "its directory is not there");
    bench.answered(THIRD, answer);
    bench.decide();
    let moved = bench.at;
    assert_eq!(bench.offices_of(THIRD), 1);
    while bench.offices_of(THIRD) < 2 {
        assert!(bench.at < moved + ms(80_000), "it is never trusted again");
        bench.run(ms(500));
        bench.decide();
    }
    let spared = bench.at - moved;
    assert!(spared >= ms(59_000), "{spared:?}");
    bench.run(ms(30_000));
    assert_eq!(bench.decide(), [], "it comes to rest");
}
