//! Values of rows as the server keeps them and as clients send them: exact decimal numbers of 38
//! digits, binary, lists and maps, and their JSON form. Knows nothing of tables, keys, files or
//! the network.
//!
//! One crate has them, so that a number means the same on both sides: what one reads, the other
//! wrote, digit by digit.
//!
//! ```
//! use tablestore_item::{Value, json};
//!
//! let row = json::parse_object(br#"{"mass":1.2345678901234567890123456789012345678,"n":1e3}"#)?;
//! assert_eq!(row["n"], Value::from(1000));
//! let mut out = Vec::new();
//! json::write_object(&row, &mut out);
//! assert_eq!(out, br#"{"mass":1.2345678901234567890123456789012345678,"n":1000}"#);
//! # Ok::<(), tablestore_item::FieldError>(())
//! ```

mod decimal;
pub mod json;
mod json_parse;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
mod value;

pub use decimal::{DIGITS_MAX, Decimal, EXPONENT_MIN, NumberError};
pub use json::FieldError;
pub use value::{Item, Value};

/// How deep lists and maps may nest; bounds the stack of every recursive walk.
pub const DEPTH_MAX: usize = 32;
