//! What is asked of the agreement and what it says. Knows nothing of how it comes about.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use tablestore_placement::{Applied, Change, ClusterMap, Command, Refused, StorageId};

/// A node's place in the world.
pub(crate) type Slot = usize;

/// What is to be decided, asked about the newest map of the leader; none if there is nothing.
pub(crate) type Decide = Box<dyn Fn(&ClusterMap) -> Option<Change>>;

/// What is proposed.
pub(crate) enum Proposal {
    /// By anyone: it is taken to whoever leads.
    Command(Command),
    /// By the leader of a term; here or not at all.
    Decision {
        /// The term.
        term: u64,
        /// What.
        decide: Decide,
    },
}

impl fmt::Debug for Proposal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Command(command) => f.debug_tuple("Command").field(command).finish(),
            Self::Decision { term, .. } => f.debug_tuple("Decision").field(term).finish(),
        }
    }
}

/// What became of a proposal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It was committed and applied.
    Applied(Applied),
    /// It was committed and the map refused it.
    Refused(Refused),
    /// There was nothing to decide.
    Nothing,
    /// It is in no log that counts and never will be.
    Discarded,
    /// It may be committed, now, later or never.
    Unknown,
}

/// Something that the world is to know.
#[derive(Clone, Debug)]
pub(crate) enum Says {
    /// A node has applied this.
    Map {
        /// The node.
        slot: Slot,
        /// Its map from now on.
        map: Arc<ClusterMap>,
    },
    /// A node leads and has everything committed; or learns that it leads no more.
    Leadership {
        /// The node.
        slot: Slot,
        /// The term, if it leads.
        term: Option<u64>,
    },
    /// Who votes, as far as a node knows.
    Voters {
        /// The node.
        slot: Slot,
        /// The voters.
        set: BTreeSet<StorageId>,
    },
    /// A proposal is over.
    Proposed {
        /// Who proposed it.
        slot: Slot,
        /// Which.
        ticket: u64,
        /// What became of it.
        outcome: Outcome,
    },
    /// A read of the map is over.
    Read {
        /// Who asked.
        slot: Slot,
        /// Which.
        ticket: u64,
        /// What was committed when it was asked, or newer; none if it could not be confirmed.
        map: Option<Arc<ClusterMap>>,
    },
    /// A node's disk failed; it takes part no more until it starts again.
    Failed {
        /// The node.
        slot: Slot,
        /// Why.
        why: String,
    },
    /// Something rare happened.
    Way(&'static str),
}
