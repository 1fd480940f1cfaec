//! The ways that many runs together must take, and in how many of them. Knows nothing of how a way
//! is taken.
//!
//! What no run takes yet is in no table, and told when it is first taken: rows that rot,
//! partitions that no map knows, raft logs whose sync fails.

use crate::Totals;

/// Runs out of ten thousand that must take a usual way.
const USUAL_SHARE: u64 = 100;

/// Ways of which a usual share is asked.
const USUAL: &[&str] = &[
    "a client gave an attempt up",
    "a command was put in twice",
    "a command will be retried",
    "a connection broke because nothing was confirmed",
    "a copy was broken off",
    "a decayed disk was refused",
    "a drain was called off",
    "a core was left",
    "a crash was seen",
    "a fault was spared",
    "a joiner was promoted",
    "a leader was elected",
    "a lost raft log was refused",
    "a machine was spared",
    "a node applied in a burst",
    "a node jumped by a snapshot",
    "a raft log failed",
    "a raft log was lost",
    "a read of the map hung",
    "a read of the map was answered late",
    "a repeated request was answered",
    "a replica stopped",
    "a replica went away and came back",
    "a second opinion agreed",
    "a stale decision was made anew",
    "a start was held dead and began anew",
    "an acknowledged write was repeated",
    "an answer was lost",
    "an office serves",
    "an office was given",
    "active: a comparison was given up",
    "active: a floor was proved",
    "active: a row",
    "active: busy",
    "active: clock off",
    "active: given up",
    "active: hints were dropped",
    "active: hints were refused",
    "active: hints were taken",
    "active: no row",
    "active: not enough replicas",
    "active: outcome unknown",
    "active: rows came by a comparison",
    "active: rows were refused in a comparison",
    "active: written",
    "answer given: checksums",
    "answer given: failure",
    "answer given: page",
    "answer given: row",
    "answer given: written",
    "answer: deadline",
    "answer: disk full",
    "answer: not enough replicas",
    "answer: outcome unknown",
    "answer: request mismatch",
    "answer: stopped",
    "answer: unconfirmed",
    "checksum",
    "clear",
    "discard",
    "effect: answers",
    "effect: connections",
    "effect: flushed all",
    "effect: frames",
    "effect: jobs",
    "effect: journal",
    "effect: notices",
    "effect: progress",
    "effect: proposals",
    "effect: read of the map",
    "effect: resigned",
    "entries were overwritten",
    "event: clock off",
    "event: clock right",
    "event: done",
    "event: flush all",
    "event: frame",
    "event: held",
    "event: inbound",
    "event: inbound ended",
    "event: journal failed",
    "event: map",
    "event: map not read",
    "event: map read",
    "event: no room",
    "event: peer down",
    "event: peer up",
    "event: persisted",
    "event: proposal answered or lost",
    "event: proposal refused",
    "event: request",
    "event: request for an active table",
    "event: resign",
    "event: room",
    "event: trimmed",
    "fault: alter a table",
    "fault: away and back",
    "fault: backup, then primary",
    "fault: blink",
    "fault: clock slip",
    "fault: clock step",
    "fault: cut one way",
    "fault: deafen",
    "fault: down two",
    "fault: drain",
    "fault: drop a table",
    "fault: fail a sync",
    "fault: full disk",
    "fault: hold dead",
    "fault: isolate",
    "fault: isolate the leader",
    "fault: kill",
    "fault: kill a primary",
    "fault: kill all",
    "fault: kill the leader",
    "fault: leave",
    "fault: lose a raft log",
    "fault: lose rows",
    "fault: misdirect a write",
    "fault: move an office",
    "fault: move offices",
    "fault: older disk",
    "fault: pause",
    "fault: pause the leader",
    "fault: power off",
    "fault: power off all",
    "fault: restart",
    "fault: rot",
    "fault: slow disk",
    "fault: slow others",
    "fault: split",
    "fault: wipe",
    "flush",
    "healed",
    "lost rows were noticed",
    "map: applied",
    "map: discarded",
    "map: nothing to decide",
    "map: outcome unknown",
    "map: refused",
    "no core could be left",
    "nobody stood for election",
    "older disks were noticed",
    "older disks were restored",
    "open",
    "read a page of a copy",
    "read log",
    "rows were lost",
    "scan",
    "store a page of a copy",
    "switch a copy in",
    "the journal failed",
    "the journal let go of entries",
    "the leadership was handed over",
    "unknown before it was committed",
    "unknown, then committed",
];

/// Ways of which less is asked: the least number of runs out of ten thousand, and why.
const RARE: &[(&str, u64, &str)] = &[
    (
        "a connection was closed by its sender",
        5,
        "limits that fit each other are hardly overrun",
    ),
    (
        "a copy was half switched in",
        0,
        "a crash within a millisecond",
    ),
    (
        "a damaged log was noticed",
        0,
        "it must be read before the node starts anew",
    ),
    (
        "a decayed disk was started on",
        20,
        "much of a file was never written",
    ),
    (
        "a deposed leader was told late",
        0,
        "two leaders must go wrong alike",
    ),
    (
        "a node stood that could not win",
        15,
        "it must have the longest sleep",
    ),
    (
        "a second opinion was given up",
        0,
        "a search may take too long",
    ),
    (
        "a stale leader took a proposal",
        30,
        "an election within a proposal",
    ),
    (
        "a start was refused by the disk",
        10,
        "a failing disk at a start",
    ),
    (
        "older disks were accepted",
        0,
        "all who are asked must be behind",
    ),
    (
        "older disks were refused late",
        0,
        "they must have been accepted",
    ),
    (
        "active: disk full",
        0,
        "all replicas must be full, and the client not delete",
    ),
    (
        "active: stopped",
        5,
        "the journal must have failed where it is asked",
    ),
    ("answer: busy", 20, "only tiny queues are full"),
    (
        "answer: no storage",
        0,
        "a storage must be out of reach for several openings",
    ),
    ("answer: not here", 5, "mostly it is sent on or waits"),
    (
        "the end of an earlier connection was told late",
        5,
        "it must have been closed",
    ),
    (
        "unknown, and never committed",
        20,
        "a deposed leader had it alone",
    ),
];

/// Ways of partitions on shared storage, which three runs in ten have.
const OWNERS: &[(&str, u64, &str)] = &[
    ("an owner was replaced by an operator", 300, OWNED),
    ("effect: orders to owners", 2_000, OWNED),
    ("event: owned partition answered", 1_000, OWNED),
    ("event: owned partition ended", 1_000, OWNED),
    ("event: owned partition opened", 2_000, OWNED),
    (
        "owner: another one opened meanwhile",
        40,
        "a moment between two",
    ),
    ("owner: answered a repetition", 300, OWNED),
    ("owner: closed with work under way", 100, OWNED),
    ("owner: fenced by an object", 50, "it must write unaware"),
    ("owner: fenced while it opened", 0, "two must open at once"),
    ("owner: founded in the place of its predecessor", 300, OWNED),
    ("owner: gave the storage up", 100, OWNED),
    ("owner: learnt that its table is founded", 2_000, OWNED),
    (
        "owner: lost its office before the table was founded",
        300,
        OWNED,
    ),
    ("owner: knew a request of a former owner", 200, OWNED),
    ("owner: not wanted while it opened", 300, OWNED),
    ("owner: office not confirmed", 300, OWNED),
    ("owner: opened", 2_000, OWNED),
    ("owner: opened in vain", 100, OWNED),
    ("owner: saw that it was deposed", 100, OWNED),
    ("owner: several writes in one object", 100, OWNED),
    (
        "owner: stopped after faults in a row",
        0,
        "a storage must be out of reach for several openings",
    ),
    (
        "owner: the place of its mark was taken",
        30,
        "a write within a claim",
    ),
    (
        "owner: told the map that its table is founded",
        2_000,
        OWNED,
    ),
    (
        "owner: too many reads waited",
        50,
        "only tiny limits are reached",
    ),
    (
        "owner: too many writes waited",
        50,
        "only tiny limits are reached",
    ),
    ("storage: answer lost", 300, OWNED),
    ("storage: failed once", 300, OWNED),
    ("storage: hung", 300, OWNED),
    ("storage: out of reach", 300, OWNED),
    (
        "storage: refused a write of an owner that was gone",
        20,
        "it must have been on its way",
    ),
    ("storage: slow", 300, OWNED),
    (
        "storage: took a write of an owner that was gone",
        5,
        "it must come before the next mark",
    ),
    ("strong read: confirmed by the map", 1_000, OWNED),
    ("strong read: confirmed by the storage", 300, OWNED),
    ("strong read: refused by the map", 30, "it must ask unaware"),
    (
        "strong read: refused by the storage",
        20,
        "it must ask unaware",
    ),
];
/// Why less is asked of those.
const OWNED: &str = "of runs with owners";

/// What is wrong with the ways that runs took, a line each; empty if nothing is.
#[must_use]
pub fn missed(totals: &Totals) -> Vec<String> {
    let usual = USUAL.iter().map(|way| (*way, USUAL_SHARE, "usual"));
    let asked = usual.chain(RARE.iter().copied());
    let asked: Vec<_> = asked.chain(OWNERS.iter().copied()).collect();
    let mut lines = Vec::new();
    for (way, share, why) in &asked {
        let seen = totals.runs_with.get(way).copied().unwrap_or(0);
        if seen * 10_000 < share * totals.runs {
            lines.push(format!(
                "\"{way}\" was taken in {seen} of {} runs; {share} of 10000 are asked ({why})",
                totals.runs
            ));
        }
    }
    for (way, seen) in &totals.runs_with {
        if !asked.iter().any(|(known, ..)| known == way) {
            lines.push(format!(
                "\"{way}\" was taken in {seen} runs and is in no table"
            ));
        }
    }
    lines
}
