//! What an observer can see of a node. Knows nothing about what it means.

use core::fmt;
use core::net::SocketAddr;
use std::time::Duration;

/// One run of a node's process: it rises by one at every start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Incarnation(pub u64);

impl fmt::Display for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Proof that a node works, not only answers: how long its oldest work has been under way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Work {
    /// Age of the oldest sync that has begun and not finished; zero if there is none.
    pub unfinished_sync_age: Duration,
    /// Age of the oldest committed operation that is not applied; zero if there is none.
    pub unapplied_age: Duration,
}

impl Work {
    /// The older of the two.
    pub fn age(&self) -> Duration {
        self.unfinished_sync_age.max(self.unapplied_age)
    }
}

/// What another observer found when it was asked to look at a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probe {
    /// The node answered it, as the incarnation in question.
    Answered,
    /// The address refused the connection.
    Refused,
    /// Nothing came back in time.
    Silent,
}

/// Something seen of a node, or of the observer itself.
///
/// Everything carries the incarnation it was seen of; what concerns an older one than is known is
/// ignored. A node is watched from its first [`Evidence::NewIncarnation`]; until then, and
/// after [`Evidence::Forget`], other evidence of it is ignored too.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Evidence<N> {
    /// The node registered, or its address answered, with this incarnation.
    NewIncarnation {
        /// Whom it concerns.
        node: N,
        /// Which run of it.
        incarnation: Incarnation,
    },
    /// The answer to a heartbeat arrived.
    HeartbeatAnswered {
        /// Who answered.
        node: N,
        /// Which run of it.
        incarnation: Incarnation,
        /// When the observer had sent the request.
        sent: Duration,
        /// The proof of work in the answer.
        work: Work,
    },
    /// The node showed that it lives, and nothing of its work: an answer to a ping, say.
    Heard {
        /// Who was heard.
        node: N,
        /// Which run of it.
        incarnation: Incarnation,
    },
    /// A connection was made. No proof of life: the kernel accepts for a dying process.
    Connected {
        /// To whom.
        node: N,
        /// Which run of it the session was, as far as known.
        incarnation: Incarnation,
    },
    /// The connection closed. Says nothing by itself.
    ConnectionLost {
        /// To whom.
        node: N,
        /// Which run of it the session was.
        incarnation: Incarnation,
    },
    /// A connect to the literal address of the lost session was refused (ECONNREFUSED).
    ConnectRefused {
        /// Whose address it is.
        node: N,
        /// Which run of it the lost session was.
        incarnation: Incarnation,
        /// The address that refused.
        address: SocketAddr,
    },
    /// A connect failed otherwise: a timeout, a reset, no route. Says nothing by itself.
    ConnectFailed {
        /// To whom.
        node: N,
        /// Which run of it the lost session was.
        incarnation: Incarnation,
    },
    /// Another observer was asked to look at the node, and did.
    Probed {
        /// Who looked.
        by: N,
        /// At whom.
        node: N,
        /// Which run of it.
        incarnation: Incarnation,
        /// What it found.
        found: Probe,
    },
    /// The observer learned that it had itself been stopped for so long, up to now.
    OwnPause {
        /// For how long.
        length: Duration,
    },
    /// Time has passed, and everything that had arrived by `now` has been taken before this.
    Tick,
    /// The node is no longer a member.
    Forget {
        /// Whom it concerns.
        node: N,
    },
}
