//! Mutations: their bytes, their answers, and that all ways of batching them agree.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use proptest::prelude::*;

use super::*;
use crate::engine::{MemoryEngine, ReadRows as _, Scan};
use crate::item::{Value, json};
use crate::testing::golden::{Golden, hex};
use crate::testing::items::{any_item, sample_item};

const KEY: &[u8] = &[0x10, b'k', 0, 1];

fn engine() -> MemoryEngine {
    let engine = MemoryEngine::new();
    engine.open_partition(1).unwrap();
    engine
}

fn item(text: &str) -> Item {
    json::parse_object(text.as_bytes()).unwrap()
}

fn put(text: &str, condition: Condition) -> Mutation {
    Mutation::Put {
        key: KEY.to_vec(),
        item: item(text),
        condition,
    }
}

fn patch(set: &str, remove: &[&str], condition: Condition) -> Mutation {
    let remove = remove.iter().map(|name| (*name).to_owned()).collect();
    Mutation::Patch {
        key: KEY.to_vec(),
        set: item(set),
        remove,
        condition,
    }
}

fn delete(condition: Condition) -> Mutation {
    Mutation::Delete {
        key: KEY.to_vec(),
        condition,
    }
}

/// Applies one after the other, from index 1; answers (effect, version) of each.
fn answers(engine: &MemoryEngine, mutations: &[Mutation]) -> Vec<(Effect, u64)> {
    let payloads: Vec<_> = mutations.iter().map(Mutation::encode).collect();
    let entries: Vec<_> = (1..)
        .zip(&payloads)
        .map(|(index, payload)| (index, &payload[..]))
        .collect();
    let applied = apply_mutations(engine, 1, &entries).unwrap();
    applied
        .into_iter()
        .map(|applied| (applied.effect, applied.version))
        .collect()
}

fn row(engine: &MemoryEngine) -> Option<(u64, String)> {
    let (version, item) = codec::decode_row(&engine.get(1, KEY).unwrap()?).unwrap();
    let mut out = Vec::new();
    json::write_object(&item, &mut out);
    Some((version, String::from_utf8(out).unwrap()))
}

#[test]
fn the_encoding_of_mutations_does_not_change() {
    let mutations = [
        Mutation::Put {
            key: KEY.to_vec(),
            item: sample_item(),
            condition: Condition::None,
        },
        put("{}", Condition::IfVersion(258)),
        patch(r#"{"a":1}"#, &["b", "c"], Condition::IfPresent),
        delete(Condition::IfAbsent),
    ];
    let golden = Golden {
        format: "mutations, the payload of writes in the journal and between nodes",
        number: "JOURNAL_FORMAT and WIRE_FORMAT",
        file: "mutations.txt",
        text: include_str!("../../testdata/mutations.txt"),
    };
    let encoded = mutations.iter().map(|mutation| hex(&mutation.encode()));
    golden.check(&encoded.collect::<Vec<_>>().join("\n"));
}

#[test]
fn the_numbers_of_effects_are_those_that_are_kept_on_disks() {
    let numbers = Effect::ALL.map(Effect::number);
    assert_eq!(numbers, [200, 404, 412, 413]);
    let known = numbers.map(Effect::of_number);
    assert_eq!(known, Effect::ALL.map(Some));
    assert_eq!(Effect::of_number(500), None);
}

#[test]
fn the_version_of_a_row_is_the_index_that_wrote_it() {
    let engine = engine();
    let done = answers(
        &engine,
        &[
            put(r#"{"a":1,"b":2}"#, Condition::None),
            patch(r#"{"a":null,"c":3}"#, &["b", "x"], Condition::None),
            delete(Condition::None),
            delete(Condition::None),
            patch(r#"{"d":4}"#, &["a"], Condition::None),
        ],
    );
    assert_eq!(
        done,
        [
            (Effect::Done, 1),
            (Effect::Done, 2),
            (Effect::Done, 0),
            (Effect::Absent, 0),
            (Effect::Done, 5)
        ]
    );
    assert_eq!(row(&engine), Some((5, r#"{"d":4}"#.into())));
    assert_eq!(engine.applied(1), 5);
}

#[test]
fn null_is_a_value_and_removal_comes_before_setting() {
    let engine = engine();
    answers(
        &engine,
        &[
            put(r#"{"a":1,"b":2}"#, Condition::None),
            patch(r#"{"a":null,"b":3}"#, &["b"], Condition::None),
        ],
    );
    assert_eq!(row(&engine), Some((2, r#"{"a":null,"b":3}"#.into())));
}

#[test]
fn conditions_are_judged_by_the_state_before_the_entry() {
    use Condition::{IfAbsent, IfPresent, IfVersion};
    let engine = engine();
    let done = answers(
        &engine,
        &[
            put(r#"{"a":1}"#, IfPresent),
            put(r#"{"a":2}"#, IfAbsent),
            put(r#"{"a":3}"#, IfAbsent),
            put(r#"{"a":4}"#, IfVersion(1)),
            patch(r#"{"b":5}"#, &[], IfVersion(2)),
            delete(IfVersion(2)),
            delete(IfAbsent),
            delete(IfVersion(5)),
            patch(r#"{"b":5}"#, &[], IfPresent),
            delete(IfAbsent),
        ],
    );
    let expected = [
        (Effect::ConditionFailed, 0),
        (Effect::Done, 2),
        (Effect::ConditionFailed, 2),
        (Effect::ConditionFailed, 2),
        (Effect::Done, 5),
        (Effect::ConditionFailed, 5),
        (Effect::ConditionFailed, 5),
        (Effect::Done, 0),
        (Effect::ConditionFailed, 0),
        (Effect::Absent, 0),
    ];
    assert_eq!(done, expected);
    assert_eq!((row(&engine), engine.applied(1)), (None, 10));
}

#[test]
fn a_merged_row_that_is_too_large_is_refused() {
    let engine = engine();
    let big = |name: &str| format!(r#"{{"{name}":"{}"}}"#, "x".repeat(ITEM_BYTES_MAX / 2));
    let done = answers(
        &engine,
        &[
            put(&big("a"), Condition::None),
            patch(&big("b"), &[], Condition::None),
            patch(&big("b"), &["a"], Condition::None),
        ],
    );
    assert_eq!(
        done,
        [(Effect::Done, 1), (Effect::TooLarge, 1), (Effect::Done, 3)]
    );
}

#[test]
fn a_blind_put_does_not_read() {
    let engine = engine();
    // A row that nobody can decode.
    engine
        .apply(
            1,
            1,
            &[RowWrite {
                key: KEY,
                value: Some(b"?"),
            }],
        )
        .unwrap();
    let blind = put("{}", Condition::None).encode();
    apply_mutations(&engine, 1, &[(2, &blind)]).unwrap();
    engine
        .apply(
            1,
            3,
            &[RowWrite {
                key: KEY,
                value: Some(b"?"),
            }],
        )
        .unwrap();
    let error = apply_mutations(
        &engine,
        1,
        &[(4, &put("{}", Condition::IfPresent).encode())],
    );
    assert!(matches!(error, Err(ApplyError::Row { index: 4, .. })));
}

#[test]
fn an_entry_that_is_no_mutation_is_named_by_its_index() {
    let error = apply_mutations(&engine(), 1, &[(7, b"\x09\x00")]).unwrap_err();
    assert_eq!(error.to_string(), "the entry at index 7 is not a mutation");
}

fn any_mutation() -> impl Strategy<Value = Mutation> {
    let key = (0u8..3).prop_map(|key| vec![0x10, b'a' + key]);
    let condition = prop_oneof![
        4 => Just(Condition::None),
        1 => (0u64..20).prop_map(Condition::IfVersion),
        1 => Just(Condition::IfAbsent),
        1 => Just(Condition::IfPresent),
    ];
    let small = proptest::collection::btree_map(
        "[a-c]",
        (0i64..9).prop_map(|number| Value::Number(number.into())),
        0..3,
    );
    (
        key,
        condition,
        small,
        proptest::collection::vec("[a-c]", 0..2),
        0..3,
    )
        .prop_map(|(key, condition, item, remove, kind)| match kind {
            0 => Mutation::Put {
                key,
                item,
                condition,
            },
            1 => Mutation::Patch {
                key,
                set: item,
                remove,
                condition,
            },
            _ => Mutation::Delete { key, condition },
        })
}

proptest! {
    #[test]
    fn mutations_round_trip(
        item in any_item(),
        remove in proptest::collection::vec(".{0,5}", 0..4),
    ) {
        let (key, condition) = (KEY.to_vec(), Condition::IfVersion(9));
        for mutation in [
            Mutation::Put { key: key.clone(), item: item.clone(), condition },
            Mutation::Patch { key, set: item, remove, condition: Condition::None },
        ] {
            let payload = mutation.encode();
            prop_assert_eq!(Mutation::key_of(&payload), Ok(KEY));
            prop_assert_eq!(Mutation::decode(&payload), Ok(mutation));
        }
    }

    #[test]
    fn any_bytes_decode_or_fail(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
        let _ = Mutation::decode(&bytes);
    }

    /// Replicas get the same entries in batches of other sizes.
    #[test]
    fn batching_changes_nothing(
        mutations in proptest::collection::vec(any_mutation(), 1..30),
        cut in 1usize..30,
    ) {
        let payloads: Vec<_> = mutations.iter().map(Mutation::encode).collect();
        let entries: Vec<_> =
            (1..).zip(&payloads).map(|(index, payload)| (index, &payload[..])).collect();
        let (one, many) = (engine(), engine());
        let expected = apply_mutations(&one, 1, &entries).unwrap();
        let mut found = Vec::new();
        for batch in entries.chunks(cut) {
            found.extend(apply_mutations(&many, 1, batch).unwrap());
        }
        prop_assert_eq!(found, expected);
        let all = Scan::all(99, 9999);
        prop_assert_eq!(one.scan(1, &all).unwrap(), many.scan(1, &all).unwrap());
    }
}

#[test]
fn o14_only_a_delete_is_told_from_what_needs_room() {
    let (key, item) = (b"key".to_vec(), Item::default());
    let condition = Condition::IfPresent;
    let delete = Mutation::Delete {
        key: key.clone(),
        condition,
    };
    let put = Mutation::Put {
        key,
        item,
        condition,
    };
    assert!(is_delete(&delete.encode()));
    assert!(!is_delete(&put.encode()));
    assert!(!is_delete(&[]));
}

#[test]
fn one_row_at_hand_becomes_what_the_engine_makes_of_it() {
    let engine = engine();
    let steps = [
        patch(r#"{"n":9}"#, &["m"], Condition::IfPresent),
        put(r#"{"n":1,"m":2}"#, Condition::IfAbsent),
        put(r#"{"n":2}"#, Condition::IfAbsent),
        patch(r#"{"n":9}"#, &["m"], Condition::IfPresent),
        put(r#"{"n":3}"#, Condition::IfVersion(4)),
        delete(Condition::None),
        delete(Condition::None),
    ];
    for (index, mutation) in (1..).zip(&steps) {
        let payload = mutation.encode();
        let current = engine.get(1, KEY).unwrap();
        assert!(current.is_none() || reads_row(&payload).unwrap());
        let (applied, change) = apply_to_row(index, &payload, current.as_deref()).unwrap();
        let by_engine = apply_mutations(&engine, 1, &[(index, &payload)]).unwrap();
        assert_eq!(by_engine, [applied]);
        let now = engine.get(1, KEY).unwrap();
        match change {
            RowChange::Keep => assert_eq!(now, current),
            RowChange::Put(value) => assert_eq!(now.as_deref(), Some(&value[..])),
            RowChange::Delete => assert_eq!(now, None),
        }
    }
}
