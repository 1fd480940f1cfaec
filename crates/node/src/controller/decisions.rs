//! Counts the decisions that the map shows, by kind, so that failovers are seen by their cause.
//!
//! Every node counts what it sees, so each has about the same counts. Knows nothing of why a
//! decision was made.

use std::sync::Arc;

use tablestore_contract::DECISION_KINDS;
use tablestore_placement::{ClusterMap, DecisionKind, Office};

use crate::metrics::{Counter, Metrics};

/// See the module.
pub(super) struct Decisions {
    me: Office,
    /// The number of the newest one, once this start is a member: those before are history, which
    /// a node that joins is told at once.
    seen: Option<u64>,
    /// As in [`DecisionKind::ALL`].
    counters: Vec<Arc<Counter>>,
}

impl Decisions {
    pub(super) fn new(me: Office, metrics: &Metrics) -> Self {
        let help = "Decisions about the cluster that were made since this node is a member, by \
                    kind; every node counts all of them.";
        let counter = |(kind, _): &(&str, &str)| {
            metrics.counter("tablestore_decisions_total", help, &[("kind", kind)])
        };
        Self {
            me,
            seen: None,
            counters: DECISION_KINDS.iter().map(counter).collect(),
        }
    }

    /// Counts what is new in a map.
    pub(super) fn follow(&mut self, map: &ClusterMap) {
        if let Some(seen) = self.seen {
            let newest_first = map.decisions.iter().rev();
            for decision in newest_first.take_while(|decision| decision.id > seen) {
                let mut kinds = DecisionKind::ALL.iter().zip(&self.counters);
                if let Some((_, counter)) = kinds.find(|(kind, _)| **kind == decision.kind) {
                    counter.increment();
                }
            }
        }
        let is_member = map.members.get(&self.me.member);
        if is_member.is_some_and(|member| member.incarnation == self.me.incarnation) {
            self.seen = map.decisions.back().map(|decision| decision.id);
        }
    }
}

#[cfg(test)]
mod tests {
    use tablestore_placement::testing::cluster;
    use tablestore_placement::{Decision, Incarnation};

    use super::*;

    #[test]
    fn what_was_decided_before_this_start_is_not_counted_and_the_rest_once() {
        let mut map = cluster(&[("a", 1), ("b", 1)]);
        let member = map.members.values().next().expect("there are two");
        let me = Office {
            member: member.storage,
            incarnation: Incarnation(member.incarnation.0 + 1),
        };
        let decide = |map: &mut ClusterMap, kind| {
            let id = map.decisions.back().map_or(0, |decision| decision.id) + 1;
            let decision = Decision::new(kind, 0);
            map.decisions
                .push_back(Arc::new(Decision { id, ..decision }));
        };
        let metrics = Metrics::new();
        let mut decisions = Decisions::new(me, &metrics);
        let count = |kind: &str| {
            let counter = metrics.counter("tablestore_decisions_total", "", &[("kind", kind)]);
            counter.value()
        };
        decide(&mut map, DecisionKind::Failover);
        decisions.follow(&map);
        let registered = map.members.get_mut(&me.member).expect("it is there");
        registered.incarnation = me.incarnation;
        decide(&mut map, DecisionKind::MemberBack);
        decisions.follow(&map);
        assert_eq!((count("failover"), count("member_back")), (0, 0));
        decide(&mut map, DecisionKind::Failover);
        decide(&mut map, DecisionKind::DiskFull);
        decide(&mut map, DecisionKind::Failover);
        decisions.follow(&map);
        decisions.follow(&map);
        assert_eq!((count("failover"), count("disk_full")), (2, 1));
    }
}
