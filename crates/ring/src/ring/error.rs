//! Why a change was refused. Knows nothing about how changes are made.

use core::fmt;

use super::TOKENS_MAX;
use crate::server::WEIGHT_MAX;

/// Why a server was not added; the ring is as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AddError {
    /// The ring would hold more than [`TOKENS_MAX`] tokens. Nothing changed; choose a smaller unit
    /// of weight, or fewer tokens for it.
    TokensTooMany {
        /// The tokens that it would hold.
        tokens: u64,
    },
    /// A server of that id is a member, or comes twice. Nothing changed; use
    /// [`Ring::reweight`](super::Ring::reweight), or remove it.
    AlreadyMember,
    /// The weight exceeds [`WEIGHT_MAX`]. Nothing changed; choose a smaller unit of weight.
    WeightTooLarge {
        /// The weight that was asked for.
        weight: u32,
    },
}

impl fmt::Display for AddError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AlreadyMember => write!(f, "a server of that id is already a member"),
            Self::WeightTooLarge { weight } => too_large(f, *weight),
            Self::TokensTooMany { tokens } => too_many(f, *tokens),
        }
    }
}

impl core::error::Error for AddError {}

/// Why a weight was not changed; the ring is as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReweightError {
    /// The ring would hold more than [`TOKENS_MAX`] tokens. Nothing changed; choose a smaller unit
    /// of weight, or fewer tokens for it.
    TokensTooMany {
        /// The tokens that it would hold.
        tokens: u64,
    },
    /// There is no server of that id. Nothing changed; add it first.
    NotMember,
    /// The weight exceeds [`WEIGHT_MAX`]. Nothing changed; choose a smaller unit of weight.
    WeightTooLarge {
        /// The weight that was asked for.
        weight: u32,
    },
}

impl fmt::Display for ReweightError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotMember => write!(f, "there is no server of that id"),
            Self::WeightTooLarge { weight } => too_large(f, *weight),
            Self::TokensTooMany { tokens } => too_many(f, *tokens),
        }
    }
}

impl core::error::Error for ReweightError {}

fn too_large(f: &mut fmt::Formatter<'_>, weight: u32) -> fmt::Result {
    write!(f, "the weight {weight} exceeds {WEIGHT_MAX}")
}

fn too_many(f: &mut fmt::Formatter<'_>, tokens: u64) -> fmt::Result {
    write!(f, "{tokens} tokens exceed {TOKENS_MAX}")
}
