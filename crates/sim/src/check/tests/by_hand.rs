//! Small histories written by hand. Knows nothing of generated ones.

use tablestore_dataplane::{Answer, Failure};
use tablestore_placement::Epoch;
use tablestore_replication::{Entry, Outcome};
use tablestore_store::{Condition, Effect};

use super::history::{Seen, Store, generate, get, judge, key, partition, put, write};
use crate::check::{Asked, Check, Counts, Memory, ProcessId, Rule, SearchOutcome};

#[test]
fn a_clean_history_passes_and_is_counted() {
    let mut store = Store::new();
    let key = key(1);
    store.do_at_once(&write(&key, 1, &put(&key, 1, Condition::IfAbsent)));
    store.do_at_once(&get(&key, true));
    store.do_at_once(&get(&key, false));
    let late = write(&key, 2, &put(&key, 2, Condition::None));
    let op = store.begin(late.clone());
    let attempt = store.attempt(op);
    store.carry_out(attempt, &late).unwrap();
    store.history.push(Seen::Lost(attempt));
    let check = judge(&store.rest());
    assert_eq!(check.violation(), None);
    let counts = Counts {
        ops: 4,
        acknowledged: 1,
        strong_reads: 1,
        eventual_reads: 1,
        open: 1,
        open_applied: 1,
        ..Counts::default()
    };
    assert_eq!(check.counts(), counts);
}

#[test]
fn clean_generated_histories_pass() {
    for seed in 0..60 {
        let check = judge(&generate(seed, 300, 1 + seed as usize % 7));
        assert_eq!(check.violation(), None, "seed {seed}");
        let counts = check.counts();
        assert!(counts.acknowledged > 50 && counts.strong_reads > 10 && counts.pages > 10);
    }
}

#[test]
fn a_request_may_be_carried_out_again_once_it_is_forgotten() {
    let judged = |kept_min| {
        let mut check = Check::new(Memory {
            remember_for_ms: 1_000,
            kept_min,
        });
        let key = key(1);
        let asked = write(&key, 5, &put(&key, 1, Condition::None));
        let op = check.begin(0, asked.clone());
        check.attempt(0, op);
        let Asked::Write {
            digest, payload, ..
        } = asked
        else {
            unreachable!("it is a write")
        };
        let request = tablestore_replication::RequestId(5);
        let entry =
            |index, log_ms| Entry::write(Epoch(1), index, log_ms, request, digest, &payload);
        let entries = [
            entry(1, 10),
            Entry::time(Epoch(1), 2, 2_000),
            entry(3, 2_001),
        ];
        let outcome = |index| {
            let outcome = Outcome {
                code: Effect::Done.number(),
                version: index,
            };
            (index, outcome)
        };
        let outcomes = [outcome(1), outcome(3)];
        check.applied(1, ProcessId(0), partition(), &entries, &outcomes);
        check.violation().map(|violation| violation.rule)
    };
    assert_eq!(judged(0), None);
    assert_eq!(judged(1), Some(Rule::OneEffect));
}

#[test]
fn a_page_of_two_moments_is_noticed() {
    let (first, second) = (key(1), key(2));
    let mut store = Store::new();
    let rows = |answer: Answer| match answer {
        Answer::Page { rows, .. } => rows,
        _ => Vec::new(),
    };
    let scan = Asked::Scan {
        partition: partition(),
        from: key(0),
        until: key(9),
        limit: 10,
        reverse: false,
        strong: false,
    };
    for (request, key) in [(1, &first), (2, &second)] {
        let mutation = put(key, request, Condition::None);
        store.do_at_once(&write(key, u128::from(request), &mutation));
    }
    let mut old = rows(store.do_at_once(&scan));
    for (request, key) in [(3, &first), (4, &second)] {
        let mutation = put(key, request, Condition::None);
        store.do_at_once(&write(key, u128::from(request), &mutation));
    }
    let new = rows(store.do_at_once(&scan));
    old[1] = new[1].clone();
    let op = store.begin(scan);
    let attempt = store.attempt(op);
    let page = Answer::Page {
        rows: old,
        more: false,
    };
    store.end(op, attempt, Ok(page));
    let check = judge(&store.rest());
    assert_eq!(check.violation().unwrap().rule, Rule::Moment);
}

#[test]
fn a_violation_tells_of_the_operation_and_its_attempts() {
    let mut store = Store::new();
    let key = key(1);
    store.do_at_once(&write(&key, 1, &put(&key, 1, Condition::None)));
    let op = store.begin(get(&key, true));
    let failed = store.attempt(op);
    store.end(op, failed, Err(Failure::Unconfirmed));
    let attempt = store.attempt(op);
    store.end(op, attempt, Ok(Answer::Row(None)));
    let check = judge(&store.rest());
    let words = check.violation().unwrap().to_string();
    assert_eq!(
        words,
        "absence: a row was told to be absent and never was meanwhile: answered as absent, there \
         at every index from 1 on (partition 1/0, at 90 us, key key-01)\n  \
         operation 1, from 50 us: strong get key-01 of 1/0\n  \
         attempt from 60 us to 70 us: Unconfirmed\n  \
         attempt from 80 us to 90 us: answered\n  \
         answered: Row(None)"
    );
}

#[test]
fn a_replica_goes_on_where_its_copy_or_its_restart_left_it() {
    let mut check = Check::new(Memory::default());
    let entries: Vec<Entry> = (1..=5).map(|at| Entry::time(Epoch(1), at, at)).collect();
    check.applied(0, ProcessId(0), partition(), &entries, &[]);
    check.installed(1, ProcessId(1), partition(), 3);
    check.applied(2, ProcessId(1), partition(), &entries[3..], &[]);
    check.restarted(3, ProcessId(0), partition(), 2);
    check.applied(4, ProcessId(0), partition(), &entries[2..4], &[]);
    assert_eq!(check.violation(), None);
    check.applied(5, ProcessId(2), partition(), &entries[1..], &[]);
    assert_eq!(check.violation().unwrap().rule, Rule::Gap);
}

#[test]
fn an_id_that_is_used_with_another_body_has_no_second_effect() {
    for is_refused in [true, false] {
        let mut store = Store::new();
        let key = key(1);
        let first = write(&key, 1, &put(&key, 1, Condition::None));
        let answer = store.do_at_once(&first);
        let mut second = write(&key, 1, &put(&key, 2, Condition::None));
        if let Asked::Write { digest, .. } = &mut second {
            *digest += 1;
        }
        let op = store.begin(second.clone());
        let attempt = store.attempt(op);
        let refused = store.carry_out(attempt, &second);
        assert!(matches!(refused, Err(Failure::RequestMismatch)));
        let result = if is_refused { refused } else { Ok(answer) };
        store.end(op, attempt, result);
        let check = judge(&store.rest());
        let rule = check.violation().map(|violation| violation.rule);
        assert_eq!(rule, (!is_refused).then_some(Rule::OneEffect));
        let verdict = check.search(partition(), &key);
        assert_eq!(verdict == SearchOutcome::Linearizable, is_refused);
    }
}

#[test]
fn a_mismatch_without_another_body_is_noticed() {
    let mut store = Store::new();
    let key = key(1);
    let op = store.begin(write(&key, 1, &put(&key, 1, Condition::None)));
    let attempt = store.attempt(op);
    store.end(op, attempt, Err(Failure::RequestMismatch));
    let check = judge(&store.rest());
    assert_eq!(check.violation().unwrap().rule, Rule::OneEffect);
}

#[test]
fn a_request_sent_again_is_answered_as_repeated_with_the_first_outcome() {
    let mut store = Store::new();
    let key = key(1);
    let asked = write(&key, 1, &put(&key, 1, Condition::IfAbsent));
    store.do_at_once(&asked);
    store.do_at_once(&write(&key, 2, &put(&key, 2, Condition::None)));
    let again = store.do_at_once(&asked);
    assert!(matches!(
        again,
        Answer::Written { code, version: 1, repeated: true } if code == Effect::Done.number()
    ));
    let check = judge(&store.rest());
    assert_eq!(check.violation(), None);
    let verdict = check.search(partition(), &key);
    assert_eq!(verdict, SearchOutcome::Linearizable);
}
