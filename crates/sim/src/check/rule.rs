//! The rules a run must keep, and what is told of the first one that was broken. Knows nothing of
//! how a breach is found.

use std::fmt;

use bytes::Bytes;
use tablestore_placement::PartitionId;

use super::asked::OpId;

/// What must hold of every run. The names are stable: a deliberate bug names the one it breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Rule {
    /// The outcome of an entry is the one of the naive model.
    Replay,
    /// Whoever applies an index applies the same entry, with the same outcome.
    Agreement,
    /// A replica applies every index, none twice.
    Gap,
    /// What is in the log was asked by a client, byte by byte.
    Unasked,
    /// What was finished before an operation began is seen by it.
    RealTime,
    /// A row that is told to be absent was absent while the operation ran.
    Absence,
    /// A request takes effect once, and all its answers are of that once.
    OneEffect,
    /// What was refused as not applied is not applied.
    NotApplied,
    /// An answer is of the kind and the key that were asked for.
    ForeignAnswer,
    /// A page has the rows of its range once, in order, each as it was while the page was made.
    Page,
    /// A page shows its range as of one moment.
    Moment,
    /// An eventual read shows what was once committed.
    Eventual,
    /// At rest all replicas are complete, the same, and what the model has.
    Copies,
    /// An acknowledged write is in the log, with the answer that was given.
    Acknowledged,
    /// The answers about a row can be explained without looking at the log.
    Opinion,
}

impl Rule {
    /// Its short name, which never changes.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Replay => "replay",
            Self::Agreement => "agreement",
            Self::Gap => "gap",
            Self::Unasked => "unasked",
            Self::RealTime => "real-time",
            Self::Absence => "absence",
            Self::OneEffect => "one-effect",
            Self::NotApplied => "not-applied",
            Self::ForeignAnswer => "foreign-answer",
            Self::Page => "page",
            Self::Moment => "moment",
            Self::Eventual => "eventual",
            Self::Copies => "copies",
            Self::Acknowledged => "acknowledged",
            Self::Opinion => "opinion",
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Replay => "an entry came to something else than the model",
            Self::Agreement => "replicas applied different entries at one index",
            Self::Gap => "a replica left out an index or applied it twice",
            Self::Unasked => "the log has what nobody asked for",
            Self::RealTime => "an operation did not see what was finished before it",
            Self::Absence => "a row was told to be absent and never was meanwhile",
            Self::OneEffect => "a request took effect more than once",
            Self::NotApplied => "a write was refused as not applied and is applied",
            Self::ForeignAnswer => "an answer is not of what was asked",
            Self::Page => "a page is not the rows of its range",
            Self::Moment => "a page is of no single moment",
            Self::Eventual => "an eventual read saw what never was committed",
            Self::Copies => "replicas at rest are incomplete or differ",
            Self::Acknowledged => "an acknowledged write is not in the log as answered",
            Self::Opinion => "no order of its operations explains what was told of a row",
        })
    }
}

/// What was found to be wrong with an observation: the rule and the particulars.
pub(crate) type Breach = (Rule, String);

/// The first breach of a run, with what a person needs to understand it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Violation {
    /// Which rule.
    pub(crate) rule: Rule,
    /// The particulars.
    pub(crate) words: String,
    /// When it was noticed.
    pub(crate) at_us: u64,
    /// Of which partition.
    pub(crate) partition: PartitionId,
    /// Of which row, if it is about one.
    pub(crate) key: Option<Bytes>,
    /// Which operation showed it, if one did.
    pub(crate) op: Option<OpId>,
    /// That operation and its attempts, a line each.
    pub(crate) lines: Vec<String>,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: {}: {} (partition {}, at {} us",
            self.rule.name(),
            self.rule,
            self.words,
            self.partition,
            self.at_us
        )?;
        if let Some(key) = &self.key {
            write!(f, ", key {}", key.escape_ascii())?;
        }
        f.write_str(")")?;
        for line in &self.lines {
            write!(f, "\n  {line}")?;
        }
        Ok(())
    }
}
