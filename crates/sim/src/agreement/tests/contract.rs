//! What every agreement must keep, whoever provides it: these tests know no more of it than the
//! trait.

use std::sync::Arc;

use tablestore_placement::{ClusterMap, Refused, StorageId};

use super::{Cluster, has_mark, mark, suspect};
use crate::agreement::{Outcome, Proposal, Settings, Slot, Wrongs};

/// A cluster under test.
pub(super) trait Subject {
    fn nodes(&self) -> usize;
    fn run(&mut self, us: u64);
    fn propose(&mut self, from: Slot, proposal: Proposal) -> u64;
    fn outcome(&self, ticket: u64) -> Option<Outcome>;
    fn read(&mut self, from: Slot) -> u64;
    fn read_answer(&self, ticket: u64) -> Option<Option<Arc<ClusterMap>>>;
    fn leader(&self) -> Option<(Slot, u64)>;
    fn map(&self, slot: Slot) -> Arc<ClusterMap>;
    /// The machine loses its power.
    fn crash(&mut self, slot: Slot);
    fn start(&mut self, slot: Slot);
    /// From now on nothing of one gets to the other.
    fn cut(&mut self, from: Slot, to: Slot);
    fn heal(&mut self);
}

fn subjects() -> Vec<Box<dyn Subject>> {
    let plain = Settings::default();
    let wrong = Settings {
        snapshot_every: 7,
        kept: 2,
        batch: 3,
        wrongs: Wrongs {
            sync_fails: 0,
            ..Wrongs::all(60)
        },
        ..Settings::default()
    };
    let make = |seed, nodes, settings: &Settings| -> Box<dyn Subject> {
        Box::new(Cluster::ready(seed, nodes, settings.clone()))
    };
    let seeds = 0..6;
    let all = seeds.flat_map(|seed| [make(seed, 3, &plain), make(seed, 5, &wrong)]);
    all.collect()
}

fn is_applied(outcome: Option<Outcome>) -> bool {
    matches!(outcome, Some(Outcome::Applied(_)))
}

fn isolate(subject: &mut dyn Subject, slot: Slot) {
    for other in (0..subject.nodes()).filter(|other| *other != slot) {
        subject.cut(slot, other);
        subject.cut(other, slot);
    }
}

fn await_leader_other_than(subject: &mut dyn Subject, old: u64) -> (Slot, u64) {
    for _ in 0..200 {
        subject.run(50_000);
        if let Some(leader) = subject.leader().filter(|(_, term)| *term > old) {
            return leader;
        }
    }
    panic!("nobody leads");
}

fn propose_marks(subject: &mut dyn Subject, first: u64, count: u64) -> Vec<(u64, u64)> {
    let marks = first..first + count;
    let tickets = marks.map(|number| {
        let from = number as usize % subject.nodes();
        subject.run(3_000);
        (
            number,
            subject.propose(from, Proposal::Command(mark(number))),
        )
    });
    tickets.collect()
}

#[test]
fn what_is_committed_is_seen_by_all_in_one_order() {
    for mut subject in subjects() {
        let tickets = propose_marks(&mut *subject, 0, 40);
        subject.run(12_000_000);
        let maps: Vec<_> = (0..subject.nodes()).map(|slot| subject.map(slot)).collect();
        for map in &maps {
            assert_eq!(map.decisions, maps[0].decisions);
        }
        let mut applied = 0;
        for (number, ticket) in tickets {
            let outcome = subject.outcome(ticket);
            assert!(outcome.is_some(), "every proposal is answered");
            let is_there = has_mark(&maps[0], number);
            assert!(is_there || !is_applied(outcome.clone()), "{number}");
            assert!(!is_there || outcome != Some(Outcome::Discarded), "{number}");
            applied += u64::from(is_applied(outcome));
        }
        assert!(applied > 20, "{applied}");
    }
}

#[test]
fn what_was_applied_outlives_the_crash_of_any_minority_and_of_all() {
    for (nth, mut subject) in subjects().into_iter().enumerate() {
        let nodes = subject.nodes();
        let mut promised = Vec::new();
        for round in 0..4_u64 {
            let tickets = propose_marks(&mut *subject, round * 20, 10);
            subject.run(100_000);
            let kept = tickets
                .into_iter()
                .filter(|(_, ticket)| is_applied(subject.outcome(*ticket)));
            promised.extend(kept.map(|(number, _)| number));
            let crashing = if round == 2 { nodes } else { nodes / 2 };
            let victims = (0..crashing).map(|step| (step + nth + round as usize) % nodes);
            let victims: Vec<_> = victims.collect();
            victims.iter().for_each(|slot| subject.crash(*slot));
            subject.run(200_000);
            victims.iter().for_each(|slot| subject.start(*slot));
            subject.run(2_000_000);
        }
        subject.run(4_000_000);
        assert!(promised.len() > 4, "{}", promised.len());
        for slot in 0..nodes {
            let map = subject.map(slot);
            assert!(
                promised.iter().all(|number| has_mark(&map, *number)),
                "{slot}"
            );
        }
    }
}

#[test]
fn a_decision_of_an_older_term_is_never_applied() {
    for mut subject in subjects() {
        let (old, term) = await_leader_other_than(&mut *subject, 0);
        isolate(&mut *subject, old);
        let (leader, newer) = await_leader_other_than(&mut *subject, term);
        assert!(newer > term && leader != old);
        let decide = |number| {
            Box::new(move |map: &ClusterMap| suspect(map, StorageId(number)))
                as Box<dyn Fn(&ClusterMap) -> _>
        };
        let in_minority = subject.propose(
            old,
            Proposal::Decision {
                term,
                decide: decide(1),
            },
        );
        let elsewhere = subject.propose(
            leader,
            Proposal::Decision {
                term,
                decide: decide(2),
            },
        );
        subject.run(100_000);
        subject.heal();
        let late = subject.propose(
            old,
            Proposal::Decision {
                term,
                decide: decide(3),
            },
        );
        subject.run(12_000_000);
        for ticket in [in_minority, elsewhere, late] {
            let outcome = subject.outcome(ticket).unwrap();
            let is_refused = matches!(outcome, Outcome::Refused(Refused::StaleDecision { .. }));
            let is_open = matches!(outcome, Outcome::Unknown | Outcome::Discarded);
            assert!(is_refused || is_open, "{outcome:?}");
        }
        let map = subject.map(leader);
        assert!(map.decisions.iter().all(|decision| {
            decision.subject.is_none_or(|id| id.0 > 3)
                || decision.kind != tablestore_placement::DecisionKind::MemberDown
        }));
    }
}

#[test]
fn a_decision_of_the_leader_is_made_on_its_newest_map() {
    for mut subject in subjects() {
        let mut done = 0;
        for number in 0..12 {
            let (leader, term) = await_leader_other_than(&mut *subject, 0);
            // Something else changes the map meanwhile.
            subject.propose(leader, Proposal::Command(mark(number)));
            let decide = Box::new(|map: &ClusterMap| suspect(map, StorageId(2)));
            let ticket = subject.propose(leader, Proposal::Decision { term, decide });
            subject.run(2_500_000);
            done += u64::from(is_applied(subject.outcome(ticket)));
        }
        assert!(done >= 6, "{done}");
    }
}

#[test]
fn a_confirmed_read_never_goes_back() {
    for mut subject in subjects() {
        let nodes = subject.nodes();
        let mut asked = Vec::new();
        for round in 0..30_usize {
            let slot = round % nodes;
            let ticket = subject.propose(slot, Proposal::Command(mark(round as u64)));
            subject.run(30_000);
            let floor = is_applied(subject.outcome(ticket)).then_some(round as u64);
            asked.push((floor, subject.read((round + 1) % nodes)));
            if round % 10 == 5
                && let Some((leader, _)) = subject.leader()
            {
                isolate(&mut *subject, leader);
                asked.push((None, subject.read(leader)));
                subject.run(700_000);
                asked.push((None, subject.read(leader)));
                subject.run(700_000);
                subject.heal();
            }
        }
        subject.run(3_000_000);
        let mut answers = 0;
        for (floor, ticket) in asked {
            let answer = subject.read_answer(ticket).expect("every read is answered");
            let Some(map) = answer else { continue };
            answers += 1;
            assert!(
                floor.is_none_or(|number| has_mark(&map, number)),
                "{floor:?}"
            );
        }
        assert!(answers > 10, "{answers}");
    }
}

#[test]
fn without_a_majority_nothing_is_agreed_on() {
    for mut subject in subjects() {
        let (leader, _) = await_leader_other_than(&mut *subject, 0);
        isolate(&mut *subject, leader);
        let ticket = subject.propose(leader, Proposal::Command(mark(1)));
        let read = subject.read(leader);
        subject.run(11_000_000);
        let outcome = subject.outcome(ticket);
        assert!(
            matches!(outcome, Some(Outcome::Unknown | Outcome::Discarded)),
            "{outcome:?}"
        );
        assert_eq!(subject.read_answer(read), Some(None));
        assert!(!has_mark(&subject.map(leader), 1));
    }
}
