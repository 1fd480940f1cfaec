//! Generators of keys for property tests, and those of items. Knows nothing of what is tested with
//! them.

use proptest::collection::vec;
use proptest::prelude::*;

pub(crate) use tablestore_item::testing::{any_decimal, any_item, sample_item};

use crate::item::KeyValue;

pub(crate) fn any_key() -> impl Strategy<Value = KeyValue> {
    prop_oneof![
        "[a-c\\x00]{1,6}".prop_map(KeyValue::String),
        ".{1,12}".prop_map(KeyValue::String),
        any_decimal().prop_map(KeyValue::Number),
        vec(any::<u8>(), 1..12).prop_map(|bytes| KeyValue::Binary(bytes.into())),
    ]
}
