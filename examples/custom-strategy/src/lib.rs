//! What the program `custom-strategy` shows: a strategy that any server can be given.

mod strategy;

pub use strategy::{OtherRegion, region};
