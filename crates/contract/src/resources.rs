//! What a node says of its machine, as its governor sees it.
//!
//! Knows nothing of how it is measured nor of what follows from it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::Document;

/// Health and resources of a machine.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Resources {
    /// The worst level of all: `ok`, `warn`, or a word for worse.
    #[serde(default)]
    pub level: String,
    /// Every resource for itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resources: Option<BTreeMap<String, ResourceLevel>>,
    /// What should be done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advice: Option<Advice>,
    /// The version of the program that runs there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// For how many seconds it had run when it said all this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uptime_s: Option<u64>,
    /// What this version does not know.
    #[serde(flatten)]
    #[cfg_attr(feature = "openapi", schema(ignore))]
    pub more: Document,
}

/// The level of one resource.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(default)]
pub struct ResourceLevel {
    /// As that of the machine.
    pub level: String,
    /// What it rests on, in words with numbers.
    pub reason: String,
}

/// What should be done about a machine's resources.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(default)]
pub struct Advice {
    /// Nothing new should be placed there.
    pub stop_placing: bool,
    /// Partitions should move away.
    pub move_partitions: bool,
    /// Primaries should move away.
    pub move_primaries: bool,
    /// Writes should be refused.
    pub refuse_writes: bool,
}
