//! How a command speaks to whoever called it: what it shows, and how it ends.
//!
//! Knows nothing of what any command does.

mod exit;
mod screen;

pub(crate) use exit::{Exit, Failure};
pub(crate) use screen::{Screen, Tone, cell, columns, date_time, field};
