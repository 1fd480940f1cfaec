//! Generators of values for property tests. Knows nothing of what is tested with them.

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;

use crate::{Decimal, Item, Value};

/// Numbers of all sizes, small ones more often.
pub fn any_decimal() -> impl Strategy<Value = Decimal> {
    prop_oneof![
        any::<i32>().prop_map(|value| Decimal::from(i64::from(value))),
        (any::<bool>(), 0u128..10u128.pow(38), -130i32..88).prop_map(|(negative, digits, e)| {
            Decimal::from_parts(negative, digits, e).unwrap_or(Decimal::ZERO)
        }),
        (any::<bool>(), 0u128..200, -3i32..3).prop_map(|(negative, digits, e)| {
            Decimal::from_parts(negative, digits, e).unwrap_or(Decimal::ZERO)
        }),
    ]
}

/// Values of all types, nested.
pub fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any_decimal().prop_map(Value::Number),
        ".{0,20}".prop_map(Value::String),
        vec(any::<u8>(), 0..20).prop_map(|bytes| Value::Binary(bytes.into())),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::List),
            btree_map(".{0,8}", inner, 0..4).prop_map(Value::Map),
        ]
    })
}

/// Rows of a few attributes.
pub fn any_item() -> impl Strategy<Value = Item> {
    btree_map(".{0,8}", any_value(), 0..6)
}

/// One of everything.
#[must_use]
pub fn sample_item() -> Item {
    let number = |text: &str| {
        Value::Number(
            text.parse()
                .unwrap_or_else(|error| panic!("{text}: {error}")),
        )
    };
    Item::from([
        ("absent".into(), Value::Null),
        ("binary".into(), Value::Binary(vec![0, 1, 254, 255].into())),
        (
            "list".into(),
            Value::List(vec![Value::Bool(true), number("-1.5E-30"), Value::Null]),
        ),
        (
            "map".into(),
            Value::Map(Item::from([("inner".into(), Value::Bool(false))])),
        ),
        ("number".into(), number("12345.678")),
        (
            "text".into(),
            Value::String("a \"quote\", a \n line, an é".into()),
        ),
    ])
}
