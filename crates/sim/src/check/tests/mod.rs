//! The judge is judged: clean histories pass, and each damage done to one is noticed by the rule
//! that is about it.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod by_hand;
mod corruptions;
mod history;
mod oracle;
mod second_opinion;
