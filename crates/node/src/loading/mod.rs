//! Rows out of files into tables: lines, records, the types of columns, batches.
//!
//! Knows nothing of the command line; what is done with a line that is refused is its caller's
//! business.

pub(crate) mod lines;
pub(crate) mod load;
pub(crate) mod records;
pub(crate) mod source;
pub(crate) mod types;
