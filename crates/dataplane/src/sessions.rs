//! Which start of each peer speaks to this node. A session begins with the first connection that a
//! start of a peer dials, and ends with its last one or when a newer start speaks: what the ended
//! session asked is asked by nobody any more. Knows nothing of sockets and messages.

use std::collections::BTreeMap;

use tablestore_placement::{Incarnation, Office, StorageId};

#[derive(Debug)]
struct Session {
    incarnation: Incarnation,
    connections: usize,
}

/// The sessions of all peers, at most one each.
#[derive(Debug, Default)]
pub(crate) struct Sessions {
    open: BTreeMap<StorageId, Session>,
}

impl Sessions {
    /// A start of a peer has dialled. Says which earlier start's session that ends.
    pub(crate) fn begins(&mut self, peer: Office) -> Option<Office> {
        let session = self.open.entry(peer.member).or_insert(Session {
            incarnation: peer.incarnation,
            connections: 0,
        });
        if peer.incarnation < session.incarnation {
            return None;
        }
        let ended = (peer.incarnation > session.incarnation).then_some(Office {
            incarnation: session.incarnation,
            ..peer
        });
        if ended.is_some() {
            session.connections = 0;
            session.incarnation = peer.incarnation;
        }
        session.connections += 1;
        ended
    }

    /// A connection of this start has ended. Says whether its session ends with it.
    pub(crate) fn connection_ended(&mut self, peer: Office) -> bool {
        let Some(session) = self.open.get_mut(&peer.member) else {
            return false;
        };
        if session.incarnation != peer.incarnation {
            return false;
        }
        session.connections = session.connections.saturating_sub(1);
        let ended = session.connections == 0;
        if ended {
            self.open.remove(&peer.member);
        }
        ended
    }

    /// Whether this start's session is open.
    pub(crate) fn is_open(&self, peer: Office) -> bool {
        let session = self.open.get(&peer.member);
        session.is_some_and(|session| session.incarnation == peer.incarnation)
    }

    /// Whether any start of the peer speaks to this node.
    pub(crate) fn hears(&self, peer: StorageId) -> bool {
        self.open.contains_key(&peer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start(incarnation: u64) -> Office {
        Office {
            member: StorageId(7),
            incarnation: Incarnation(incarnation),
        }
    }

    #[test]
    fn a_session_ends_with_its_last_connection() {
        let mut sessions = Sessions::default();
        assert_eq!(sessions.begins(start(1)), None);
        assert_eq!(sessions.begins(start(1)), None);
        assert!(!sessions.connection_ended(start(1)));
        assert!(sessions.is_open(start(1)));
        assert!(sessions.connection_ended(start(1)));
        assert!(!sessions.is_open(start(1)) && !sessions.hears(StorageId(7)));
        assert!(!sessions.connection_ended(start(1)));
    }

    #[test]
    fn l26_a_newer_start_ends_the_session_of_the_older_one_whose_end_is_late() {
        let mut sessions = Sessions::default();
        sessions.begins(start(1));
        assert_eq!(sessions.begins(start(2)), Some(start(1)));
        assert!(sessions.is_open(start(2)) && !sessions.is_open(start(1)));
        assert!(!sessions.connection_ended(start(1)), "noticed late");
        assert!(sessions.is_open(start(2)));
        assert_eq!(sessions.begins(start(1)), None, "an old one comes late");
        assert!(!sessions.is_open(start(1)));
        assert!(sessions.connection_ended(start(2)));
    }
}
