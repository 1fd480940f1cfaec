//! What clients asked, and the attempts they made at it. Knows nothing of what is right.

use std::collections::BTreeMap;
use std::fmt;

use bytes::Bytes;
use tablestore_dataplane::{Answer, Failure};
use tablestore_placement::{Epoch, PartitionId};

/// One operation of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct OpId(pub(crate) u32);

/// One attempt at an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct AttemptId(pub(crate) u32);

/// What a client asks.
#[derive(Clone, Debug)]
pub(crate) enum Asked {
    /// A mutation of one row.
    Write {
        partition: PartitionId,
        key: Bytes,
        request: u128,
        digest: u64,
        payload: Bytes,
    },
    /// One row.
    Get {
        partition: PartitionId,
        key: Bytes,
        strong: bool,
    },
    /// Rows from `from` to before `until`; an empty `until` is the end of the partition.
    Scan {
        partition: PartitionId,
        from: Bytes,
        until: Bytes,
        limit: u32,
        reverse: bool,
        strong: bool,
    },
    /// The checksums of all copies.
    Checksums { partition: PartitionId },
}

impl Asked {
    /// Whom.
    pub(crate) fn partition(&self) -> PartitionId {
        match self {
            Self::Write { partition, .. }
            | Self::Get { partition, .. }
            | Self::Scan { partition, .. }
            | Self::Checksums { partition } => *partition,
        }
    }

    /// Of which row; a range has none.
    pub(crate) fn key(&self) -> Option<&Bytes> {
        match self {
            Self::Write { key, .. } | Self::Get { key, .. } => Some(key),
            Self::Scan { .. } | Self::Checksums { .. } => None,
        }
    }
}

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let strength = |strong: bool| if strong { "strong" } else { "eventual" };
        match self {
            Self::Write {
                partition,
                key,
                request,
                digest,
                payload,
            } => write!(
                f,
                "write {} of {partition}, request {request:x}, digest {digest:x}, {}",
                key.escape_ascii(),
                payload.escape_ascii(),
            ),
            Self::Get {
                partition,
                key,
                strong,
            } => write!(
                f,
                "{} get {} of {partition}",
                strength(*strong),
                key.escape_ascii()
            ),
            Self::Scan {
                partition,
                from,
                until,
                limit,
                reverse,
                strong,
            } => write!(
                f,
                "{} scan [{}, {}) of {partition}, limit {limit}{}",
                strength(*strong),
                from.escape_ascii(),
                until.escape_ascii(),
                if *reverse { ", reverse" } else { "" },
            ),
            Self::Checksums { partition } => write!(f, "checksums of {partition}"),
        }
    }
}

/// An operation, from its first call on.
#[derive(Debug)]
pub(crate) struct Operation {
    pub(crate) asked: Asked,
    pub(crate) begun_us: u64,
    /// Its place in the order of all that clients did and saw.
    pub(crate) begun: u64,
    pub(crate) answered: Option<Answered>,
    pub(crate) attempts: Vec<AttemptId>,
}

/// The first answer to an operation.
#[derive(Debug)]
pub(crate) struct Answered {
    /// When the attempt began that had it.
    pub(crate) begun: u64,
    /// When it came.
    pub(crate) ended: u64,
    pub(crate) answer: Answer,
}

/// What became of an attempt.
#[derive(Clone, Debug)]
pub(crate) enum End {
    /// It runs, or nobody will ever know.
    Open,
    /// The client waits no more.
    Lost,
    /// It had an answer.
    Answered,
    /// It failed.
    Failed(Failure),
}

/// One attempt.
#[derive(Debug)]
pub(crate) struct Attempt {
    pub(crate) op: OpId,
    pub(crate) begun_us: u64,
    pub(crate) begun: u64,
    pub(crate) ended_us: Option<u64>,
    pub(crate) end: End,
    /// The entries that it is known to have appended.
    pub(crate) appended: Vec<(Epoch, u64)>,
}

impl Attempt {
    /// Whether it certainly appended nothing that became committed.
    pub(crate) fn is_certainly_not_applied(&self) -> bool {
        matches!(self.end, End::Failed(failure) if failure != Failure::Unknown)
    }
}

impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "attempt from {} us", self.begun_us)?;
        if let Some(at) = self.ended_us {
            write!(f, " to {at} us")?;
        }
        match &self.end {
            End::Open => f.write_str(": open")?,
            End::Lost => f.write_str(": lost")?,
            End::Answered => f.write_str(": answered")?,
            End::Failed(failure) => write!(f, ": {failure:?}")?,
        }
        for (epoch, index) in &self.appended {
            write!(f, ", appended {index} in epoch {epoch}")?;
        }
        Ok(())
    }
}

/// One body that was sent under a request's id.
#[derive(Debug)]
pub(crate) struct Body {
    pub(crate) digest: u64,
    pub(crate) payload: Bytes,
    /// What had been finished for its key before the first call.
    pub(crate) floor: u64,
    /// All operations that asked for it, from the first on.
    pub(crate) ops: Vec<OpId>,
    /// The index whose first answer was given.
    pub(crate) first_answered: Vec<u64>,
}

/// All requests for writes, by id; one id may have been sent with several bodies.
#[derive(Debug, Default)]
pub(crate) struct Requests(BTreeMap<(PartitionId, u128), Vec<Body>>);

impl Requests {
    /// Notes that an operation asks for a write.
    pub(crate) fn ask(&mut self, op: OpId, asked: &Asked, floor: u64) {
        let Asked::Write {
            partition,
            request,
            digest,
            payload,
            ..
        } = asked
        else {
            return;
        };
        let bodies = self.0.entry((*partition, *request)).or_default();
        match bodies.iter_mut().find(|body| body.digest == *digest) {
            Some(body) => body.ops.push(op),
            None => bodies.push(Body {
                digest: *digest,
                payload: payload.clone(),
                floor,
                ops: vec![op],
                first_answered: Vec::new(),
            }),
        }
    }

    /// All bodies of an id.
    pub(crate) fn bodies(&self, partition: PartitionId, request: u128) -> &[Body] {
        self.0
            .get(&(partition, request))
            .map_or(&[], |bodies| bodies)
    }

    /// The body of an id with this digest.
    pub(crate) fn body(
        &mut self,
        partition: PartitionId,
        request: u128,
        digest: u64,
    ) -> Option<&mut Body> {
        let bodies = self.0.get_mut(&(partition, request))?;
        bodies.iter_mut().find(|body| body.digest == digest)
    }

    /// Every id, with its bodies.
    pub(crate) fn all(&self) -> impl Iterator<Item = (PartitionId, u128, &Body)> {
        self.0.iter().flat_map(|((partition, request), bodies)| {
            bodies.iter().map(|body| (*partition, *request, body))
        })
    }
}

/// For every key the greatest index that a finished operation showed, as it rose.
#[derive(Debug, Default)]
pub(crate) struct Floors(BTreeMap<PartitionId, BTreeMap<Bytes, Vec<(u64, u64)>>>);

impl Floors {
    /// What was shown before the moment `when`.
    pub(crate) fn before(&self, partition: PartitionId, key: &[u8], when: u64) -> u64 {
        let keys = self.0.get(&partition);
        let Some(rises) = keys.and_then(|keys| keys.get(key)) else {
            return 0;
        };
        let after = rises.partition_point(|(tick, _)| *tick < when);
        after.checked_sub(1).map_or(0, |at| rises[at].1)
    }

    /// An operation that ended at the moment `when` showed this index.
    pub(crate) fn raise(&mut self, partition: PartitionId, key: &Bytes, when: u64, index: u64) {
        let keys = self.0.entry(partition).or_default();
        let rises = keys.entry(key.clone()).or_default();
        if rises.last().is_none_or(|(_, floor)| *floor < index) {
            rises.push((when, index));
        }
    }
}
