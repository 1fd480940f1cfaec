//! The kinds of decisions: their words, and what each means.
//!
//! Knows nothing of when one is made. `docs/operations.md` shows the same table; a test compares
//! them, another the words with those that the map keeps.

/// The words of the kinds, in the order in which they came to be, each with its meaning. A newer
/// node may know more.
pub const DECISION_KINDS: [(&str, &str); 22] = [
    ("founded", "the cluster was founded"),
    ("joined", "a member joined"),
    ("left", "a member was removed for good"),
    ("table_created", "a table was created"),
    ("table_dropped", "a table was dropped"),
    (
        "member_down",
        "a member was found dead; only in older decisions, it is `failover` now",
    ),
    ("member_back", "a member was started again"),
    (
        "failover",
        "a member is dead: its primaries moved to in-sync members",
    ),
    (
        "rebalance",
        "primaries, owners or replicas moved for an even spread",
    ),
    ("rereplicate", "replicas were added, replaced or dropped"),
    (
        "drain",
        "everything moves off a member by order, or primaries off one that ends",
    ),
    ("in_sync", "in-sync sets changed"),
    (
        "cold_start",
        "primaries were chosen where none was left, by the longest log",
    ),
    (
        "stall",
        "a member answers and does not finish its work: its primaries moved off it",
    ),
    (
        "unclean",
        "a replica that may lack acknowledged writes was promoted by order; not made yet",
    ),
    (
        "disk_full",
        "a member's disk is full: its primaries moved off it and it gets nothing new",
    ),
    (
        "disk_room",
        "a member's disk has room again: it may be given replicas and primaries",
    ),
    (
        "replicas_stopped",
        "replicas stopped for good: they left the in-sync sets and are primaries no more",
    ),
    (
        "unreachable",
        "the controller cannot reach a member that others hear: its primaries moved off it",
    ),
    (
        "table_altered",
        "a table was altered: how many replicas it has, or a write needs",
    ),
    (
        "recovered",
        "this cluster was founded by order from what one member of another had (`tablestore \
         recover`)",
    ),
    (
        "undrain",
        "a drain was called off: the member may take copies and primaries again",
    ),
];

/// The table as `docs/operations.md` has it.
#[must_use]
pub fn decision_kinds_markdown() -> String {
    let mut out = String::from("| kind | meaning |\n|---|---|\n");
    for (word, meaning) in DECISION_KINDS {
        out.push_str(&format!("| `{word}` | {meaning} |\n"));
    }
    out
}

/// The kind of a decision as a schema: any word, since a newer node may know more.
#[cfg(feature = "openapi")]
pub(crate) fn kind_schema() -> utoipa::openapi::Object {
    let mut description = String::from("What sort of decision; others may be added.\n");
    for (word, meaning) in DECISION_KINDS {
        description.push_str(&format!("\n- `{word}`: {meaning}"));
    }
    utoipa::openapi::ObjectBuilder::new()
        .schema_type(utoipa::openapi::Type::String)
        .description(Some(description))
        .examples(DECISION_KINDS.map(|(word, _)| word))
        .build()
}
