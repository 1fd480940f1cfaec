//! The rules that every [`Detector`] must keep, as a suite to run against an implementation.
//!
//! Knows nothing about how a detector concludes. A broken rule panics and names itself, as an
//! assertion in a test does.

use std::time::Duration;

use crate::{Belief, Detector, Evidence, Incarnation, Work};

/// Time between two ticks of the suite.
const TICK: Duration = Duration::from_millis(20);
/// Ticks between two heartbeats of the suite.
const TICKS_PER_BEAT: u32 = 5;
/// Silence after which every detector has to have convicted, told to expect 100 ms heartbeats.
const CONVICTED_WITHIN: Duration = Duration::from_secs(10);

const NODE: u32 = 1;
const OTHER: u32 = 2;
const FIRST: Incarnation = Incarnation(1);

/// Checks the contract of [`Detector`], each rule with a new detector from `make`, which should
/// expect a heartbeat every 100 ms and know nobody.
pub fn check_detector<D: Detector<Node = u32>>(make: impl Fn() -> D) {
    let run = || Run {
        now: Duration::ZERO,
        detector: make(),
    };
    an_unknown_node_is_unknown(run());
    an_answering_node_is_alive(run());
    a_silent_node_dies_and_stays_dead(run());
    a_closed_connection_and_two_refusals_convict(run());
    less_than_a_crash_hint_convicts_nobody(run());
    a_late_observer_convicts_nobody(run());
    a_node_whose_work_does_not_finish_is_not_simply_alive(run());
}

struct Run<D> {
    now: Duration,
    detector: D,
}

impl<D: Detector<Node = u32>> Run<D> {
    fn take(&mut self, evidence: Evidence<u32>) {
        self.detector.take(self.now, evidence);
    }

    fn belief(&self, incarnation: Incarnation) -> Belief {
        self.detector.belief(self.now, &NODE, incarnation)
    }

    fn answered(&mut self, node: u32, incarnation: Incarnation, work: Work) {
        let sent = self.now.saturating_sub(Duration::from_millis(1));
        self.take(Evidence::HeartbeatAnswered {
            node,
            incarnation,
            sent,
            work,
        });
    }

    /// Lets `OTHER`, and `NODE` as well if it `answers`, answer heartbeats for a time.
    fn pass(&mut self, time: Duration, answers: Option<(Incarnation, Work)>) {
        for tick in 1..=(time.as_millis() / TICK.as_millis()) as u32 {
            self.now += TICK;
            if tick.is_multiple_of(TICKS_PER_BEAT) {
                self.answered(OTHER, FIRST, Work::default());
                if let Some((incarnation, work)) = answers {
                    self.answered(NODE, incarnation, work);
                }
            }
            self.take(Evidence::Tick);
        }
    }

    fn begun(mut self) -> Self {
        for node in [NODE, OTHER] {
            self.take(Evidence::NewIncarnation {
                node,
                incarnation: FIRST,
            });
        }
        self.pass(Duration::from_secs(3), Some((FIRST, Work::default())));
        assert_eq!(
            self.belief(FIRST),
            Belief::Alive,
            "it answers, so it is alive"
        );
        self
    }
}

fn an_unknown_node_is_unknown<D: Detector<Node = u32>>(mut run: Run<D>) {
    run.take(Evidence::Tick);
    run.answered(NODE, FIRST, Work::default());
    assert_eq!(
        run.belief(FIRST),
        Belief::Unknown,
        "nobody asked to watch it"
    );
}

fn an_answering_node_is_alive<D: Detector<Node = u32>>(run: Run<D>) {
    let mut run = run.begun();
    assert_eq!(
        run.belief(Incarnation(2)),
        Belief::Unknown,
        "a later incarnation is unknown"
    );
    run.take(Evidence::Forget { node: NODE });
    assert_eq!(
        run.belief(FIRST),
        Belief::Unknown,
        "a forgotten node is unknown"
    );
}

fn a_silent_node_dies_and_stays_dead<D: Detector<Node = u32>>(run: Run<D>) {
    let mut run = run.begun();
    run.pass(CONVICTED_WITHIN, None);
    assert!(run.belief(FIRST).is_dead(), "silence convicts in the end");
    run.pass(Duration::from_secs(3), Some((FIRST, Work::default())));
    assert!(
        run.belief(FIRST).is_dead(),
        "a dead incarnation never comes back"
    );
    let second = Incarnation(2);
    run.take(Evidence::NewIncarnation {
        node: NODE,
        incarnation: second,
    });
    run.pass(Duration::from_secs(3), Some((second, Work::default())));
    assert_eq!(
        run.belief(second),
        Belief::Alive,
        "a later incarnation starts afresh"
    );
    assert!(run.belief(FIRST).is_dead(), "the earlier one stays dead");
}

fn refusal() -> Evidence<u32> {
    let address = core::net::SocketAddr::from(([127, 0, 0, 1], 7001));
    Evidence::ConnectRefused {
        node: NODE,
        incarnation: FIRST,
        address,
    }
}

fn lost() -> Evidence<u32> {
    Evidence::ConnectionLost {
        node: NODE,
        incarnation: FIRST,
    }
}

fn a_closed_connection_and_two_refusals_convict<D: Detector<Node = u32>>(run: Run<D>) {
    let mut run = run.begun();
    for evidence in [lost(), refusal(), refusal()] {
        run.take(evidence);
    }
    assert!(
        run.belief(FIRST).is_dead(),
        "a crash hint is acted upon at once"
    );
}

fn less_than_a_crash_hint_convicts_nobody<D: Detector<Node = u32>>(run: Run<D>) {
    let mut run = run.begun();
    let (node, incarnation) = (NODE, FIRST);
    let connected = || Evidence::Connected { node, incarnation };
    let failed = || Evidence::ConnectFailed { node, incarnation };
    let harmless: [&[Evidence<u32>]; 5] = [
        &[lost()],
        &[lost(), refusal()],
        &[lost(), refusal(), connected(), refusal()],
        &[lost(), refusal(), failed(), refusal()],
        &[lost(), failed(), failed(), failed()],
    ];
    for evidence in harmless {
        for one in evidence {
            run.take(one.clone());
        }
        run.pass(Duration::from_millis(200), Some((FIRST, Work::default())));
        assert_eq!(run.belief(FIRST), Belief::Alive, "after {evidence:?}");
    }
}

fn a_late_observer_convicts_nobody<D: Detector<Node = u32>>(run: Run<D>) {
    let mut run = run.begun();
    for pause in [200, 1_000, 60_000] {
        run.now += Duration::from_millis(pause);
        run.take(Evidence::Tick);
        assert!(
            !run.belief(FIRST).is_dead(),
            "the pause of {pause} ms was the observer's own"
        );
        run.pass(Duration::from_secs(1), Some((FIRST, Work::default())));
        assert_eq!(
            run.belief(FIRST),
            Belief::Alive,
            "after a pause of {pause} ms"
        );
    }
}

fn a_node_whose_work_does_not_finish_is_not_simply_alive<D: Detector<Node = u32>>(run: Run<D>) {
    let mut run = run.begun();
    let work = Work {
        unfinished_sync_age: Duration::from_secs(60),
        ..Work::default()
    };
    run.pass(Duration::from_secs(1), Some((FIRST, work)));
    assert!(
        !matches!(run.belief(FIRST), Belief::Alive | Belief::Unknown),
        "it does not work"
    );
}
