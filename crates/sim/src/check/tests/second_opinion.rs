//! The search: it explains clean histories and refuses others. Knows nothing of the rules.

use tablestore_dataplane::Answer;
use tablestore_store::{Condition, Mutation};

use super::history::{Seen, Store, generate, get, judge, key, partition, put, write};
use crate::check::SearchOutcome;

#[test]
fn clean_histories_are_linearizable_for_every_row() {
    for seed in 0..40 {
        let check = judge(&generate(seed, 400, 1 + seed as usize % 6));
        assert_eq!(check.violation(), None);
        for number in 0..9 {
            let verdict = check.search(partition(), &key(number));
            assert_eq!(
                verdict,
                SearchOutcome::Linearizable,
                "seed {seed}, row {number}"
            );
        }
    }
}

/// A write that overlaps two reads; the answers of the reads tell when it took effect.
fn overlapping_write(first_sees_it: bool, second_sees_it: bool, is_lost: bool) -> SearchOutcome {
    let key = key(1);
    let mut store = Store::new();
    let before = write(&key, 1, &put(&key, 1, Condition::None));
    store.do_at_once(&before);
    let old = store.do_at_once(&get(&key, true));
    let late = write(&key, 2, &put(&key, 2, Condition::IfVersion(1)));
    let op = store.begin(late.clone());
    let attempt = store.attempt(op);
    let mut reads = Vec::new();
    for _ in 0..2 {
        let read = store.begin(get(&key, true));
        let attempt = store.attempt(read);
        reads.push((read, attempt, store.history.len()));
        store.history.push(Seen::Lost(attempt));
    }
    let written = store.carry_out(attempt, &late);
    let new = store.carry_out(attempt, &get(&key, true)).unwrap();
    for ((read, attempt, at), sees_it) in reads.into_iter().zip([first_sees_it, second_sees_it]) {
        let row = if sees_it { new.clone() } else { old.clone() };
        store.history[at] = Seen::Ended(read, attempt, Ok(row));
    }
    match is_lost {
        true => store.history.push(Seen::Lost(attempt)),
        false => store.end(op, attempt, written),
    }
    judge(&store.history).search(partition(), &key)
}

#[test]
fn the_search_places_a_write_between_reads() {
    for is_lost in [false, true] {
        for (first, second) in [(false, false), (false, true), (true, true)] {
            let verdict = overlapping_write(first, second, is_lost);
            assert_eq!(
                verdict,
                SearchOutcome::Linearizable,
                "{first} {second} {is_lost}"
            );
        }
        let verdict = overlapping_write(true, false, is_lost);
        assert_eq!(verdict, SearchOutcome::NotLinearizable, "{is_lost}");
    }
}

#[test]
fn an_acknowledged_write_that_no_read_sees_is_not_linearizable() {
    let key = key(1);
    let mut store = Store::new();
    store.do_at_once(&write(&key, 1, &put(&key, 1, Condition::None)));
    let op = store.begin(get(&key, true));
    let attempt = store.attempt(op);
    store.end(op, attempt, Ok(Answer::Row(None)));
    let verdict = judge(&store.history).search(partition(), &key);
    assert_eq!(verdict, SearchOutcome::NotLinearizable);
}

#[test]
fn two_deletions_of_one_row_are_not_linearizable() {
    let key = key(1);
    let delete = Mutation::Delete {
        key: key.to_vec(),
        condition: Condition::None,
    };
    let mut store = Store::new();
    store.do_at_once(&write(&key, 1, &put(&key, 1, Condition::None)));
    let deleted = store.do_at_once(&write(&key, 2, &delete));
    let op = store.begin(write(&key, 3, &delete));
    let attempt = store.attempt(op);
    store.end(op, attempt, Ok(deleted));
    let verdict = judge(&store.history).search(partition(), &key);
    assert_eq!(verdict, SearchOutcome::NotLinearizable);
}
