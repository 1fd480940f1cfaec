//! The controller as a whole, in virtual time: three members, of which the first is this node.

mod rounds;
mod trusted;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tablestore_health::{Probe, Work};
use tablestore_placement::testing::{catch_up, cluster, create_table, definition, registration};
use tablestore_placement::{
    ClusterMap, Command, DecisionKind, Epoch, Incarnation, MemberState, Office, PARTITION,
    PartitionId, StorageId, Strategies, TableDefinition, plan,
};

use crate::{
    Controller, ControllerSettings, Input, Job, LinkNews, Notice, NoticeKind, Now, Output, Planned,
    Proposal, ReplicaProgress, Sign, SignOfWork,
};

const ME: StorageId = StorageId(1);
const SECOND: StorageId = StorageId(2);
const THIRD: StorageId = StorageId(3);
const ALL: [StorageId; 3] = [ME, SECOND, THIRD];
const START: Incarnation = Incarnation(1);
/// How often voters ping each other.
const PING_EVERY: Duration = Duration::from_millis(50);

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// A table on shared storage.
fn shared(partitions: u32) -> TableDefinition {
    TableDefinition {
        strategy: PARTITION.to_owned(),
        ..definition(partitions, 1, 1)
    }
}

/// What a member answers whose replica of this partition has stopped.
fn has_stopped(partition: PartitionId, why: &str) -> SignOfWork {
    let stopped = ReplicaProgress {
        partition,
        stopped: Some(why.to_owned()),
        ..ReplicaProgress::default()
    };
    SignOfWork {
        incarnation: START,
        replicas: vec![stopped],
        ..SignOfWork::default()
    }
}

/// A controller, and the world around it.
struct Bench {
    controller: Controller,
    at: Duration,
    pinged: Duration,
    map: ClusterMap,
    /// Whom this node hears, and who answers its heartbeats.
    reached: BTreeSet<StorageId>,
    /// Who has started anew, and not registered yet.
    anew: BTreeSet<StorageId>,
    /// What this node says of its own replicas.
    mine: Vec<ReplicaProgress>,
    /// Whom those say that they hear.
    hears: BTreeSet<StorageId>,
    /// What others find when they look at a member; none looks by itself.
    found: Option<Probe>,
    /// How far the clocks of members are ahead of the right time.
    ahead_ms: BTreeMap<StorageId, i64>,
    /// All that was put out, with the time; heartbeats are answered instead.
    done: Vec<(Duration, Output)>,
}

impl Bench {
    /// All members are up and in sync, and reach each other; nobody leads.
    fn new() -> Self {
        Self::with(&definition(8, 3, 2))
    }

    fn with(table: &TableDefinition) -> Self {
        let mut map = cluster(&[("", 1), ("", 1), ("", 1)]);
        create_table(&mut map, "orders", table).expect("a table can be created");
        catch_up(&mut map);
        let settings = ControllerSettings {
            heartbeat_every: ms(100),
            cold_start_wait: ms(3_000),
            rereplicate_after: ms(600_000),
        };
        let me = Office {
            member: ME,
            incarnation: START,
        };
        let mut bench = Self {
            controller: Controller::new(me, &settings, Arc::new(Strategies::built_in())),
            at: ms(10_000),
            pinged: Duration::ZERO,
            map: map.clone(),
            reached: ALL.into(),
            anew: BTreeSet::new(),
            mine: Vec::new(),
            hears: ALL.into(),
            found: None,
            ahead_ms: BTreeMap::new(),
            done: Vec::new(),
        };
        bench.handle(Input::Voters(ALL.into()));
        bench.handle(Input::Map(Arc::new(map)));
        bench
    }

    fn leading() -> Self {
        let mut bench = Self::new();
        bench.run(ms(500));
        bench.lead(1);
        bench.run(ms(1_500));
        bench.done.clear();
        bench
    }

    fn lead(&mut self, term: u64) {
        self.handle(Input::Leadership { term: Some(term) });
    }

    fn handle(&mut self, input: Input) {
        let now = Now {
            since_start: self.at,
            wall_ms: u64::try_from(self.at.as_millis()).expect("a test is short"),
        };
        self.controller.handle(now, input);
        while let Some(output) = self.controller.poll_output() {
            match output {
                Output::Heartbeat { to } if self.reached.contains(&to) => {
                    self.controller.clock_off_ms(to);
                    self.answer(now, to);
                }
                Output::Heartbeat { .. } => {}
                output => {
                    let probe = match output {
                        Output::Probe {
                            by,
                            node,
                            incarnation,
                        } => Some((by, node, incarnation)),
                        _ => None,
                    };
                    self.done.push((self.at, output));
                    if let (Some((by, node, incarnation)), Some(found)) = (probe, self.found) {
                        let probed = Input::Probed {
                            by,
                            node,
                            incarnation,
                            found,
                        };
                        self.controller.handle(now, probed);
                    }
                }
            }
        }
    }

    fn answer(&mut self, now: Now, node: StorageId) {
        let incarnation = self.start_of(node);
        let replicas = if node == ME {
            self.mine.clone()
        } else {
            Vec::new()
        };
        let answer = SignOfWork {
            incarnation,
            replicas,
            wall_ms: self.wall_ms(node),
            ..SignOfWork::default()
        };
        let sent = now.since_start;
        let answered = Input::Answered { node, sent, answer };
        self.controller.handle(now, answered);
    }

    fn wall_ms(&self, node: StorageId) -> u64 {
        let right = u64::try_from(self.at.as_millis()).expect("a test is short");
        let ahead = self.ahead_ms.get(&node).copied().unwrap_or(0);
        (right + 10_000_000).saturating_add_signed(ahead)
    }

    fn start_of(&self, node: StorageId) -> Incarnation {
        let registered = self.map.members[&node].incarnation;
        Incarnation(registered.0 + u64::from(self.anew.contains(&node)))
    }

    /// This is all that a member says within the next review.
    fn answered(&mut self, node: StorageId, answer: SignOfWork) {
        self.reached.remove(&node);
        let sent = self.at;
        self.handle(Input::Answered { node, sent, answer });
        self.run(ms(250));
        self.reached.insert(node);
    }

    fn hint(&mut self, storage: StorageId) {
        let sign = Sign::RefusedTwice(START);
        self.handle(Input::Link(LinkNews::Seen { storage, sign }));
    }

    /// Lets time pass; pings go on.
    fn run(&mut self, length: Duration) {
        let end = self.at + length;
        while self.at < end {
            self.at = end
                .min(self.controller.next_deadline())
                .min(self.pinged + PING_EVERY)
                .max(self.at);
            if self.at >= self.pinged + PING_EVERY {
                self.pinged = self.at;
                self.ping();
            }
            self.handle(Input::Tick);
        }
    }

    fn ping(&mut self) {
        for storage in self.reached.clone().into_iter().filter(|id| *id != ME) {
            let hears = self.hears.clone();
            let hears = hears.into_iter().filter(|id| *id != storage).collect();
            self.handle(Input::Link(LinkNews::Heard {
                storage,
                incarnation: Some(self.start_of(storage)),
                hears,
            }));
        }
    }

    /// What was proposed and never answered.
    fn proposals(&self) -> Vec<(Duration, Proposal)> {
        let proposed = |(at, output): &(Duration, Output)| match output {
            Output::Propose(proposal) => Some((*at, (**proposal).clone())),
            _ => None,
        };
        self.done.iter().filter_map(proposed).collect()
    }

    fn jobs(&self) -> Vec<Job> {
        let proposals = self.proposals();
        proposals
            .into_iter()
            .map(|(_, proposal)| proposal.job)
            .collect()
    }

    fn kinds(&self) -> Vec<DecisionKind> {
        let proposals = self.proposals();
        proposals
            .into_iter()
            .map(|(_, proposal)| proposal.decision.kind)
            .collect()
    }

    fn hand_overs(&self) -> Vec<Duration> {
        let handed =
            |output: &Output| matches!(output, Output::HandOver { to, .. } if *to == SECOND);
        let handed = self.done.iter().filter(|(_, output)| handed(output));
        handed.map(|(at, _)| *at).collect()
    }

    fn apply(&mut self, command: &Command) {
        self.map
            .apply(command)
            .expect("a test asks for what can be");
        self.handle(Input::Map(Arc::new(self.map.clone())));
    }

    /// Decides what was proposed, and all that is proposed because of it.
    fn decide(&mut self) -> Vec<(Duration, Proposal)> {
        let mut decided = Vec::new();
        while !self.proposals().is_empty() {
            let proposals = self.proposals();
            self.done.clear();
            for (at, proposal) in proposals {
                let change = proposal.change(&Strategies::built_in(), &self.map);
                let (job, done) = (proposal.job, change.is_some());
                if let Some(change) = change {
                    self.apply(&Command::Change(change));
                }
                self.handle(Input::Proposed { job, done });
                decided.push((at, proposal));
            }
        }
        decided
    }

    fn offices_of(&self, storage: StorageId) -> usize {
        let offices = self.map.partitions();
        let held = offices.filter(|(_, _, a)| a.primary.is_some_and(|o| o.member == storage));
        held.count()
    }
}

#[test]
fn a_calm_cluster_asks_for_nothing() {
    let mut bench = Bench::leading();
    bench.run(ms(30_000));
    assert_eq!(bench.done, []);
}

#[test]
fn a_hint_leads_to_one_proposal_until_that_has_ended() {
    let mut bench = Bench::leading();
    bench.hint(SECOND);
    bench.hint(SECOND);
    bench.run(ms(2_000));
    assert_eq!(bench.jobs(), [Job::Down(SECOND)]);
    let (_, proposal) = bench.proposals().remove(0);
    let planned = Planned::MemberDown {
        storage: SECOND,
        incarnation: START,
    };
    assert_eq!((proposal.term, proposal.planned), (1, planned));
    assert_eq!(proposal.decision.kind, DecisionKind::Failover);

    bench.done.clear();
    let job = Job::Down(SECOND);
    bench.handle(Input::Proposed { job, done: false });
    assert_eq!(bench.jobs(), [], "not at once: nothing else would be done");
    bench.run(ms(40));
    assert_eq!(bench.jobs(), [job], "it was not decided: once more");
    bench.reached.remove(&SECOND);
    bench.decide();
    assert_eq!(bench.map.members[&SECOND].state, MemberState::Down);
    assert_eq!(bench.offices_of(SECOND), 0);
}

#[test]
fn a_hint_from_before_the_leadership_is_acted_on_at_once() {
    let mut bench = Bench::new();
    bench.run(ms(500));
    bench.hint(THIRD);
    let hint = Output::CrashHint {
        storage: THIRD,
        incarnation: START,
    };
    let notice = Output::Notice(Notice {
        kind: NoticeKind::CrashHint,
        member: Some(THIRD),
        why: None,
    });
    let seen: Vec<Output> = bench.done.drain(..).map(|(_, output)| output).collect();
    assert_eq!(seen, [hint, notice], "the elector and people are told");
    let noticed_ms = u64::try_from(bench.at.as_millis()).expect("a test is short");
    bench.run(ms(250));
    bench.lead(7);
    let proposals = bench.proposals();
    let [(at, proposal)] = &proposals[..] else {
        panic!("{proposals:?}");
    };
    assert_eq!((*at, proposal.job), (bench.at, Job::Down(THIRD)));
    assert_eq!(proposal.term, 7);
    let noticed = &proposal.decision.phases[0];
    assert_eq!(
        (noticed.name.as_str(), noticed.at_ms),
        ("noticed", noticed_ms)
    );
}

#[test]
fn a_hint_about_an_earlier_start_is_no_hint_about_this_one() {
    let mut bench = Bench::leading();
    let storage = THIRD;
    for (same_boot, incarnation) in [(true, START), (false, Incarnation(2))] {
        let sign = Sign::StartedAnew {
            incarnation,
            same_boot,
        };
        bench.handle(Input::Link(LinkNews::Seen { storage, sign }));
    }
    assert_eq!(bench.jobs(), []);
    let sign = Sign::StartedAnew {
        incarnation: Incarnation(2),
        same_boot: true,
    };
    bench.handle(Input::Link(LinkNews::Seen { storage, sign }));
    assert_eq!(bench.jobs(), [Job::Down(THIRD)]);
}

#[test]
fn l17_a_controller_that_hears_no_majority_decides_nothing() {
    let mut bench = Bench::leading();
    bench.reached = [ME].into();
    bench.run(ms(400));
    bench.done.clear();
    bench.hint(SECOND);
    bench.run(ms(10_000));
    assert_eq!(bench.jobs(), []);
    assert_eq!(bench.hand_overs(), []);
    // Reached again it knows at once what it was told, and convicts nobody of its own deafness.
    bench.reached = [ME, THIRD].into();
    bench.run(ms(100));
    assert_eq!(bench.jobs(), [Job::Down(SECOND)]);
}

#[test]
fn without_leadership_nothing_is_put_out_but_what_was_seen() {
    let mut bench = Bench::new();
    bench.run(ms(1_000));
    bench.reached = [ME].into();
    bench.run(ms(10_000));
    assert_eq!(bench.done, [], "silence");
    bench.hint(SECOND);
    bench.done.clear();
    bench.run(ms(10_000));
    assert_eq!(bench.done, [], "a hint");
    bench.reached = ALL.into();
    bench.lead(1);
    bench.handle(Input::Leadership { term: None });
    bench.done.clear();
    bench.run(ms(10_000));
    assert_eq!(bench.done, [], "a leadership that is over");
}

#[test]
fn silence_is_asked_about_and_then_acted_on_without_a_hint() {
    let mut bench = Bench::leading();
    bench.reached.remove(&THIRD);
    bench.hears.remove(&THIRD);
    let from = bench.at;
    bench.run(ms(1_500));
    let probe = Output::Probe {
        by: SECOND,
        node: THIRD,
        incarnation: START,
    };
    let asked = bench.done.iter().position(|(_, output)| *output == probe);
    let fall = bench
        .done
        .iter()
        .position(|(_, output)| matches!(output, Output::Propose(p) if p.job == Job::Down(THIRD)));
    assert!(asked < fall && asked.is_some(), "{:?}", bench.done);
    let fell = bench.proposals()[0].0 - from;
    assert!(fell >= ms(450) && fell <= ms(800), "{fell:?}");
}

#[test]
fn l34_the_leadership_leaves_a_broken_connection_at_most_every_five_seconds() {
    let mut bench = Bench::leading();
    bench.reached.remove(&THIRD);
    bench.found = Some(Probe::Answered);
    let from = bench.at;
    bench.run(ms(14_000));
    let after: Vec<Duration> = bench.hand_overs().iter().map(|at| *at - from).collect();
    assert_eq!(after.len(), 3, "{after:?}");
    assert!(after[0] > ms(400) && after[0] < ms(550), "{after:?}");
    let rests = after.windows(2).all(|pair| pair[1] - pair[0] > ms(5_000));
    assert!(rests, "{after:?}");
    // Until the leadership has moved nobody is called dead; offices move away, a little later.
    let (at, proposal) = &bench.proposals()[0];
    let planned = Planned::OfficesOff { storage: THIRD };
    assert_eq!(proposal.planned, planned);
    assert_eq!(proposal.decision.kind, DecisionKind::Unreachable);
    assert!(*at - from > ms(550), "after {:?}", *at - from);
}

#[test]
fn a_voter_that_was_silent_before_the_leadership_is_asked_about_at_once() {
    let mut bench = Bench::new();
    bench.run(ms(500));
    bench.reached.remove(&THIRD);
    bench.hears.remove(&THIRD);
    bench.run(ms(550));
    bench.lead(1);
    let probe = Output::Probe {
        by: SECOND,
        node: THIRD,
        incarnation: START,
    };
    let asked = |(_, output): &(Duration, Output)| *output == probe;
    assert!(bench.done.iter().any(asked), "{:?}", bench.done);
    assert_eq!(bench.jobs(), [], "and is not convicted unheard");
}

#[test]
fn l17_what_was_silent_while_nobody_was_heard_is_not_dead_for_that() {
    let mut bench = Bench::leading();
    bench.reached = [ME].into();
    bench.run(ms(5_000));
    (bench.reached, bench.hears) = ([ME, SECOND].into(), [ME, SECOND].into());
    bench.done.clear();
    bench.run(ms(250));
    assert_eq!(bench.jobs(), [], "its silence is counted from now");
    bench.run(ms(1_000));
    assert_eq!(bench.jobs(), [Job::Down(THIRD)]);
}

#[test]
fn after_a_pause_of_its_own_a_controller_blames_nobody() {
    let mut bench = Bench::leading();
    bench.at += ms(2_000);
    // The first ping has come through, the others are about to.
    bench.reached = [ME, SECOND].into();
    bench.ping();
    bench.handle(Input::Tick);
    bench.reached = ALL.into();
    bench.run(ms(2_000));
    assert_eq!(bench.done, []);
}

#[test]
fn l21_offices_return_only_to_a_member_that_was_whole_for_five_seconds() {
    let mut bench = Bench::leading();
    assert!(bench.offices_of(THIRD) >= 2);
    bench.reached.remove(&THIRD);
    bench.hears.remove(&THIRD);
    bench.hint(THIRD);
    bench.decide();
    assert_eq!(bench.offices_of(THIRD), 0);

    bench.run(ms(2_000));
    let mut back = registration(THIRD.0, "", 1);
    (back.incarnation, back.start) = (Incarnation(2), 2);
    back.begun = vec![0, 2];
    bench.apply(&Command::Register(back));
    bench.reached.insert(THIRD);
    bench.hears.insert(THIRD);
    bench.decide();
    bench.run(ms(3_000));
    assert_eq!(bench.jobs(), [], "it has to catch up first");
    catch_up(&mut bench.map);
    bench.handle(Input::Map(Arc::new(bench.map.clone())));
    let whole = bench.at;
    bench.run(ms(7_000));
    let decided = bench.decide();
    let (at, first) = decided.first().expect("the offices are spread again");
    assert_eq!(first.decision.kind, DecisionKind::Rebalance);
    assert!(*at - whole >= ms(5_000), "after {:?}", *at - whole);
    assert!(*at - whole <= ms(5_500), "after {:?}", *at - whole);
    bench.run(ms(3_000));
    bench.decide();
    assert!(bench.offices_of(THIRD) >= 2, "an even share of eight");
}

#[test]
fn a_plan_for_another_map_proposes_nothing() {
    let mut bench = Bench::leading();
    let plan = plan::move_offices_off(&Strategies::built_in(), &bench.map, SECOND);
    assert!(!plan.is_empty());
    let version = bench.map.version;
    let exactly = Planned::Exactly { version, plan };
    assert!(!exactly.plan(&Strategies::built_in(), &bench.map).is_empty());
    bench.apply(&Command::DropTable {
        name: "orders".to_owned(),
        at_ms: 0,
    });
    assert!(exactly.plan(&Strategies::built_in(), &bench.map).is_empty());

    // What was proposed is asked about the map that it is applied to.
    let mut bench = Bench::leading();
    bench.hint(SECOND);
    let (_, proposal) = bench.proposals().remove(0);
    assert!(
        proposal
            .change(&Strategies::built_in(), &bench.map)
            .is_some()
    );
    let mut anew = registration(SECOND.0, "", 1);
    (anew.incarnation, anew.start) = (Incarnation(2), 2);
    anew.begun = vec![0, 2];
    bench.apply(&Command::Register(anew));
    assert_eq!(
        proposal.change(&Strategies::built_in(), &bench.map),
        None,
        "a newer start is there"
    );
}

#[test]
fn a_member_whose_clock_is_off_is_told_and_named_once() {
    let mut bench = Bench::leading();
    bench.ahead_ms = [(THIRD, -3_600_000)].into();
    bench.run(ms(1_000));
    let off = |bench: &mut Bench| ALL.map(|member| bench.controller.clock_off_ms(member));
    assert_eq!(off(&mut bench), [None, None, Some(-3_600_000)]);
    let why =
        "its clock is 3600000 ms behind the median of all: it takes no writes of active tables";
    let notice = Output::Notice(Notice {
        kind: NoticeKind::ClockOff,
        member: Some(THIRD),
        why: Some(why.to_owned()),
    });
    let said = |bench: &Bench| bench.done.iter().filter(|(_, out)| *out == notice).count();
    assert_eq!(said(&bench), 1);
    // This node's own clock leaps: the others are right all the same.
    bench.ahead_ms.insert(ME, 90_000);
    bench.run(ms(1_000));
    assert_eq!(off(&mut bench), [Some(90_000), None, Some(-3_600_000)]);
    bench.ahead_ms.clear();
    bench.run(ms(1_000));
    assert_eq!(off(&mut bench), [None; 3]);
    assert_eq!(said(&bench), 1, "once is enough");
}

#[test]
fn a_full_disk_moves_offices_off_until_there_is_room() {
    let mut bench = Bench::leading();
    let say = |bench: &mut Bench, full: bool| {
        let answer = SignOfWork {
            incarnation: START,
            full,
            ..SignOfWork::default()
        };
        bench.answered(SECOND, answer);
    };
    say(&mut bench, true);
    assert_eq!(bench.controller.full_members(), [SECOND].into());
    assert_eq!(bench.jobs(), [Job::Room(SECOND)]);
    assert_eq!(bench.kinds(), [DecisionKind::DiskFull]);
    bench.decide();
    assert_eq!(bench.map.members[&SECOND].state, MemberState::Suspect);
    assert_eq!(bench.offices_of(SECOND), 0);
    say(&mut bench, false);
    assert_eq!(bench.jobs(), [Job::Room(SECOND)]);
    assert_eq!(bench.kinds(), [DecisionKind::DiskRoom]);
    bench.decide();
    assert_eq!(bench.map.members[&SECOND].state, MemberState::Up);
}

#[test]
fn l09_a_member_that_answers_and_does_not_finish_its_work_has_stalled() {
    let mut bench = Bench::leading();
    let answer = SignOfWork {
        incarnation: START,
        work: Work {
            unfinished_sync_age: ms(2_000),
            ..Work::default()
        },
        ..SignOfWork::default()
    };
    bench.answered(SECOND, answer);
    assert_eq!(bench.jobs(), [Job::OfficesOff(SECOND)]);
    assert_eq!(bench.kinds(), [DecisionKind::Stall]);
    bench.decide();
    assert_eq!(bench.offices_of(SECOND), 0);
}

#[test]
fn a_replica_that_stopped_is_a_decision_of_its_own_kind() {
    let mut bench = Bench::leading();
    let (partition, ..) = bench
        .map
        .partitions()
        .find(|(_, _, a)| a.primary_member() == Some(SECOND))
        .expect("the second has offices");
    let answer = has_stopped(partition, "its copy differs");
    bench.answered(SECOND, answer);
    assert_eq!(bench.jobs(), [Job::Stopped]);
    assert_eq!(bench.kinds(), [DecisionKind::ReplicasStopped]);
    let (_, proposal) = bench.proposals().remove(0);
    let evidence = proposal.decision.evidence;
    assert_eq!(evidence, "1 replicas stopped; its copy differs");
}

#[test]
fn a_start_that_the_map_shows_is_not_heard_because_a_later_one_is() {
    let mut bench = Bench::with(&definition(8, 2, 1));
    let is_given = |map: &ClusterMap| {
        let mut offices = map.partitions().map(|(_, _, a)| a);
        offices.any(|a| a.primary_member() == Some(THIRD) && a.in_sync == [THIRD])
    };
    // The third starts anew while nobody leads, maybe without its rows; then the second dies.
    bench.anew.insert(THIRD);
    bench.run(ms(500));
    bench.lead(1);
    bench.reached.remove(&SECOND);
    bench.hint(SECOND);
    bench.decide();
    assert_eq!(bench.map.members[&SECOND].state, MemberState::Down);
    for _ in 0..20 {
        assert!(!is_given(&bench.map), "that start is gone");
        bench.run(ms(50));
        bench.decide();
    }
}

#[test]
fn of_two_that_are_gone_neither_is_given_what_the_other_had() {
    let mut bench = Bench::with(&definition(8, 2, 1));
    bench.run(ms(250));
    bench.hint(SECOND);
    bench.hint(THIRD);
    bench.lead(1);
    let proposals = bench.proposals();
    assert_eq!(proposals.len(), 2, "both are heard until a moment ago");
    for (_, proposal) in proposals {
        let change = proposal.change(&Strategies::built_in(), &bench.map);
        let given = change.expect("a member is gone").assignments;
        let mut given = given.iter().filter_map(|change| change.next.primary);
        assert!(given.all(|primary| primary == ME));
    }
}

#[test]
fn where_rows_are_shared_no_report_is_waited_for_when_all_were_down() {
    let mut bench = Bench::with(&shared(8));
    for member in ALL {
        let mut back = registration(member.0, "", 1);
        (back.start, back.incarnation) = (2, Incarnation(2));
        bench.apply(&Command::Register(back));
    }
    let filled = |map: &ClusterMap| {
        let offices = map.partitions();
        offices.filter(|(_, _, a)| map.is_filled(a.primary)).count()
    };
    assert_eq!(filled(&bench.map), 0);
    let begun = bench.at;
    bench.lead(1);
    while filled(&bench.map) < 8 {
        bench.run(ms(50));
        bench.decide();
        assert!(bench.at < begun + ms(1_500), "less than the wait");
    }
}
