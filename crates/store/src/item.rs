//! Typed items: the values of a row's attributes, as bytes on disk and as keys. Knows nothing of
//! tables or of where rows are kept. Values and their JSON form are those of `tablestore-item`.

pub mod codec;
pub mod key;

pub use key::{KeyType, KeyValue};
pub use tablestore_item::{Decimal, FieldError, Item, NumberError, Value, json};
