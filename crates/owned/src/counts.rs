//! What all partitions of one process ask of their storage and hold back from it, counted together.
//! Knows nothing of how it is shown.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// What is asked of a storage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// An object, or a part of one, is written.
    Put,
    /// An object, or a part or the head of one, is read.
    Get,
    List,
    Delete,
    Copy,
    /// A directory is looked at, whether it is there.
    Look,
}

/// All, in the order of their numbers, with the names by which they are shown.
const KINDS: [(Kind, &str); 6] = [
    (Kind::Put, "put"),
    (Kind::Get, "get"),
    (Kind::List, "list"),
    (Kind::Delete, "delete"),
    (Kind::Copy, "copy"),
    (Kind::Look, "look"),
];

/// Requests of one kind.
#[derive(Debug, Default)]
struct Asked {
    requests: AtomicU64,
    failures: AtomicU64,
}

/// Counted while the process lives.
#[derive(Debug)]
pub(crate) struct Counts {
    origin: Instant,
    asked: [Asked; KINDS.len()],
    under_way: AtomicI64,
    /// After the origin, and never 0; 0 for never.
    failed_at_ms: AtomicU64,
    groups: AtomicU64,
    groups_took_ns: AtomicU64,
    unflushed_bytes: AtomicI64,
    unflushed_bytes_max: AtomicI64,
    held_up: AtomicU64,
}

/// What was counted since the process began, and how it is now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StorageFigures {
    /// By kind: its name, its requests, and how many of them failed. That an object is not there,
    /// or is there already, is an answer and no failure.
    pub asked: [(&'static str, u64, u64); KINDS.len()],
    /// Requests that have no answer yet.
    pub under_way: u64,
    /// How long ago one failed last; nothing if none has.
    pub failed_ago: Option<Duration>,
    /// Groups of writes that became durable.
    pub groups: u64,
    /// How long that took them, altogether.
    pub groups_took: Duration,
    /// Bytes of the open partitions that are in memory and not in a table yet, of each as it was
    /// before its last group of writes: databases look at it only then.
    pub unflushed_bytes: u64,
    /// With how many bytes they would hold up writes, all together.
    pub unflushed_bytes_max: u64,
    /// How often a group of writes had to wait as one had so many.
    pub held_up: u64,
}

impl Counts {
    pub(crate) fn new() -> Self {
        Self {
            origin: Instant::now(),
            asked: Default::default(),
            under_way: AtomicI64::new(0),
            failed_at_ms: AtomicU64::new(0),
            groups: AtomicU64::new(0),
            groups_took_ns: AtomicU64::new(0),
            unflushed_bytes: AtomicI64::new(0),
            unflushed_bytes_max: AtomicI64::new(0),
            held_up: AtomicU64::new(0),
        }
    }

    pub(crate) fn asked(&self, kind: Kind) {
        let asked = &self.asked[kind as usize];
        asked.requests.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn failed(&self, kind: Kind) {
        let asked = &self.asked[kind as usize];
        asked.failures.fetch_add(1, Ordering::Relaxed);
        let now_ms = u64::try_from(self.origin.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.failed_at_ms
            .fetch_max(now_ms.max(1), Ordering::Relaxed);
    }

    /// So many more or fewer requests wait for an answer.
    pub(crate) fn under_way(&self, change: i64) {
        self.under_way.fetch_add(change, Ordering::Relaxed);
    }

    pub(crate) fn flushed(&self, took: Duration) {
        let ns = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.groups.fetch_add(1, Ordering::Relaxed);
        self.groups_took_ns.fetch_add(ns, Ordering::Relaxed);
    }

    /// So many more or fewer bytes are not in a table yet.
    pub(crate) fn unflushed(&self, change: i64) {
        self.unflushed_bytes.fetch_add(change, Ordering::Relaxed);
    }

    /// So many more or fewer bytes may be.
    pub(crate) fn may_be_unflushed(&self, change: i64) {
        self.unflushed_bytes_max
            .fetch_add(change, Ordering::Relaxed);
    }

    pub(crate) fn held_up(&self, times: u64) {
        self.held_up.fetch_add(times, Ordering::Relaxed);
    }

    pub(crate) fn figures(&self) -> StorageFigures {
        let whole = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let now = |count: &AtomicI64| u64::try_from(count.load(Ordering::Relaxed)).unwrap_or(0);
        let mut figures = StorageFigures {
            under_way: now(&self.under_way),
            groups: whole(&self.groups),
            groups_took: Duration::from_nanos(whole(&self.groups_took_ns)),
            unflushed_bytes: now(&self.unflushed_bytes),
            unflushed_bytes_max: now(&self.unflushed_bytes_max),
            held_up: whole(&self.held_up),
            ..StorageFigures::default()
        };
        for (kind, name) in KINDS {
            let asked = &self.asked[kind as usize];
            figures.asked[kind as usize] = (name, whole(&asked.requests), whole(&asked.failures));
        }
        let failed_at_ms = whole(&self.failed_at_ms);
        if failed_at_ms > 0 {
            let at = Duration::from_millis(failed_at_ms);
            figures.failed_ago = Some(self.origin.elapsed().saturating_sub(at));
        }
        figures
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_counted_under_its_own_name() {
        for (number, (kind, name)) in KINDS.into_iter().enumerate() {
            assert_eq!(kind as usize, number, "{name}");
            let counts = Counts::new();
            assert_eq!(counts.figures().failed_ago, None);
            counts.asked(kind);
            counts.asked(kind);
            counts.failed(kind);
            let figures = counts.figures();
            assert_eq!(figures.asked[number], (name, 2, 1));
            let all: u64 = figures.asked.iter().map(|(_, requests, _)| requests).sum();
            assert_eq!(all, 2);
            assert!(figures.failed_ago.is_some());
        }
    }
}
