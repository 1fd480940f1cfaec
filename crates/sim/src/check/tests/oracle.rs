//! The naive model against the store: whatever mutations come, the same answers and rows. Knows
//! nothing of the log.

use tablestore_store::engine::MemoryEngine;
use tablestore_store::{
    Condition, Effect, Engine, Item, Mutation, ReadRows as _, Value, apply_mutations,
};

use super::history::key;
use crate::check::model::{Row, step};
use crate::rng::Chance;

fn any_value(chance: &mut Chance, depth: u64) -> Value {
    match chance.below(if depth > 0 { 7 } else { 5 }) {
        0 => Value::Null,
        1 => Value::Bool(chance.happens(500)),
        2 => Value::from(chance.below(1 << 40) as i64 - (1 << 39)),
        3 => Value::from("ü".repeat(chance.below(5) as usize).as_str()),
        4 => Value::Binary(vec![7; chance.below(9) as usize].into()),
        5 => Value::List(vec![any_value(chance, depth - 1); chance.below(4) as usize]),
        _ => Value::Map(any_item(chance, depth - 1)),
    }
}

fn any_item(chance: &mut Chance, depth: u64) -> Item {
    let mut item = Item::new();
    for _ in 0..chance.below(4) {
        let name = format!("a{}", chance.below(4));
        item.insert(name, any_value(chance, depth));
    }
    item
}

fn any_mutation(chance: &mut Chance, index: u64) -> Mutation {
    let key = key(chance.below(3)).to_vec();
    let condition = match chance.below(5) {
        0 => Condition::IfVersion(index.saturating_sub(chance.below(6))),
        1 => Condition::IfAbsent,
        2 => Condition::IfPresent,
        _ => Condition::None,
    };
    match chance.below(8) {
        0..=2 => Mutation::Put {
            key,
            item: any_item(chance, 2),
            condition,
        },
        3..=5 => Mutation::Patch {
            key,
            set: any_item(chance, 2),
            remove: vec![format!("a{}", chance.below(5)), "big".into()],
            condition,
        },
        6 => Mutation::Delete { key, condition },
        _ => Mutation::Patch {
            key,
            set: [("big".into(), edge_value(chance))].into(),
            remove: Vec::new(),
            condition,
        },
    }
}

/// A value with which a row is a little smaller or larger than it may be.
fn edge_value(chance: &mut Chance) -> Value {
    let filling = Value::Binary(vec![1; 400 * 1024 - 20 - chance.below(40) as usize].into());
    match chance.below(3) {
        0 => filling,
        1 => Value::List(vec![filling, Value::Null]),
        _ => Value::Map([("m".into(), filling)].into()),
    }
}

#[test]
fn the_model_answers_as_the_store_does() {
    let mut effects = [0; Effect::ALL.len()];
    for seed in 0..40 {
        let mut chance = Chance::new(seed);
        let engine = MemoryEngine::new();
        engine.open_partition(1).unwrap();
        let mut rows: std::collections::BTreeMap<Vec<u8>, Row> = Default::default();
        for index in 1..150 {
            let mutation = any_mutation(&mut chance, index);
            let key = crate::check::log::key_of(&mutation).to_vec();
            let applied = apply_mutations(&engine, 1, &[(index, &mutation.encode())]).unwrap();
            let step = step(rows.get(&key), &mutation, index);
            assert_eq!(
                (step.effect, step.version),
                (applied[0].effect, applied[0].version),
                "seed {seed}, index {index}"
            );
            let at = Effect::ALL.iter().position(|effect| *effect == step.effect);
            effects[at.unwrap()] += 1;
            match step.change {
                Some(Some(row)) => _ = rows.insert(key.clone(), row),
                Some(None) => _ = rows.remove(&key),
                None => {}
            }
            let stored = engine.get(1, &key).unwrap();
            let expected = rows.get(&key).map(Row::encode);
            assert!(stored.as_deref() == expected.as_deref(), "index {index}");
        }
    }
    assert!(effects.iter().all(|count| *count > 20), "{effects:?}");
}
