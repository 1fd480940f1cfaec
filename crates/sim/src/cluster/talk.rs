//! What processes say to each other beside their data: pings, heartbeats, looks at a third one, and
//! the signs that a process is gone. The host of a controller in simulated time.

use std::collections::BTreeSet;
use std::time::Duration;

use tablestore_controller::{Input, LinkNews, Look, Output, ReplicaProgress, Sign, SignOfWork};
use tablestore_health::{Probe, Work};
use tablestore_placement::{Incarnation, Office, StorageId};

use super::World;
use super::event::{ClusterEvent, Life, Slot, Told};
use super::machine::slot_of;

/// As in a server: how often each node asks the others whether they are there.
const PING_EVERY_US: u64 = 50_000;
/// As in a server: whoever was heard within this is there.
const HEARD_WITHIN_US: u64 = 300_000;
/// A journal that has failed does no work: its oldest sync is this old.
const FAILED: Duration = Duration::from_secs(3_600);

impl World {
    /// A process says something to whoever runs on a machine; lost if the way is cut.
    pub(super) fn say(&mut self, from: Life, to: Slot, what: Told) {
        if !self.network.connects(from.slot, to) {
            return;
        }
        let Some(to) = self.machines.get(to).and_then(|m| m.process.as_ref()) else {
            return;
        };
        let to = to.life;
        let at = self.now + self.network.delay(&mut self.chance.network);
        self.queue.push(at, ClusterEvent::Told { from, to, what });
    }

    /// Tells the controller of a process what happened and does what it wants.
    pub(super) fn tell_controller(&mut self, life: Life, input: Input) {
        let (now, wall_ms) = (self.now, self.machines[life.slot].wall_ms(self.now));
        let Some(process) = self.process(life) else {
            return;
        };
        let time = tablestore_controller::Now {
            since_start: process.since_start(now),
            wall_ms,
        };
        process.controller.handle(time, input);
        self.obey(life);
    }

    fn obey(&mut self, life: Life) {
        while let Some(output) = self.process(life).and_then(|p| p.controller.poll_output()) {
            match output {
                Output::Heartbeat { to } => self.heartbeat(life, to),
                Output::Probe {
                    by,
                    node,
                    incarnation,
                } => {
                    let at = slot_of(node);
                    self.say(life, slot_of(by), Told::Probe { at, incarnation });
                }
                Output::Propose(proposal) => self.decide(life, *proposal),
                Output::HandOver { to, .. } => {
                    self.took("the leadership was handed over");
                    self.hand_over(life, slot_of(to));
                }
                Output::CrashHint { storage, .. } => self.crash_hint(life, slot_of(storage)),
                Output::Notice(notice) => self.tell(|| format!("{life:?} {notice:?}")),
            }
        }
        let Some(process) = self.process(life) else {
            return;
        };
        let at = process.at(process.controller.next_deadline());
        if process.tick_at.is_none_or(|planned| at < planned) {
            process.tick_at = Some(at);
            self.queue.push(at.max(self.now), ClusterEvent::Tick(life));
        }
    }

    pub(super) fn tick(&mut self, life: Life) {
        let now = self.now;
        let Some(process) = self.process(life) else {
            return;
        };
        if process.is_paused(now) {
            let until = process.paused_until;
            process.tick_at = Some(until);
            return self.queue.push(until, ClusterEvent::Tick(life));
        }
        if process.tick_at.is_some_and(|planned| planned > now) {
            return;
        }
        process.tick_at = None;
        self.tell_controller(life, Input::Tick);
    }

    fn heartbeat(&mut self, life: Life, to: StorageId) {
        let sent_us = self.now;
        let Some(process) = self.process(life) else {
            return;
        };
        let full = process.controller.full_members();
        let clock_off = process.controller.clock_off_ms(to).is_some();
        if to == process.office.member {
            let sent = process.since_start(sent_us);
            let (node, answer) = (to, self.answer_of(life));
            self.told_full(life, full);
            self.told_clock(life, clock_off);
            return self.tell_controller_quietly(life, Input::Answered { node, sent, answer });
        }
        let full = full.into_iter().collect();
        let heartbeat = Told::Heartbeat {
            sent_us,
            full,
            clock_off,
        };
        self.say(life, slot_of(to), heartbeat);
    }

    /// The answer of the node itself comes before the next output is taken.
    fn tell_controller_quietly(&mut self, life: Life, input: Input) {
        let (now, wall_ms) = (self.now, self.machines[life.slot].wall_ms(self.now));
        if let Some(process) = self.process(life) {
            let since_start = process.since_start(now);
            let time = tablestore_controller::Now {
                since_start,
                wall_ms,
            };
            process.controller.handle(time, input);
        }
    }

    /// This node's sign of work.
    fn answer_of(&mut self, life: Life) -> SignOfWork {
        let (now, full) = (self.now, self.machines[life.slot].is_full);
        let wall_ms = self.machines[life.slot].wall_ms(now);
        let Some(process) = self.process(life) else {
            return SignOfWork::default();
        };
        let age = |since: u64| Duration::from_micros(now.saturating_sub(since));
        let journal = &process.journal;
        let unfinished_sync_age = match &journal.running {
            _ if journal.failed => FAILED,
            Some(_) => age(journal.running_since),
            None => Duration::ZERO,
        };
        let replicas = process.progress.iter();
        SignOfWork {
            incarnation: process.office.incarnation,
            work: Work {
                unfinished_sync_age,
                unapplied_age: age(process.last_turn),
            },
            full,
            leaving: process.leaving,
            wall_ms,
            replicas: replicas
                .map(|(partition, shown)| ReplicaProgress {
                    partition: *partition,
                    epoch: shown.epoch,
                    end: shown.end,
                    stopped: shown.stopped.clone(),
                })
                .collect(),
        }
    }

    /// Asks all others whether they are there.
    pub(super) fn pings(&mut self, life: Life) {
        if self.process(life).is_none() {
            return;
        }
        for slot in 0..self.machines.len() {
            if slot != life.slot {
                self.say(life, slot, Told::Ping);
            }
        }
        self.queue
            .push(self.now + PING_EVERY_US, ClusterEvent::Pings(life));
    }

    /// Something arrives at a process.
    pub(super) fn told(&mut self, from: Life, to: Life, what: Told) {
        let now = self.now;
        let Some(process) = self.process(to) else {
            return;
        };
        if process.is_paused(now) {
            let until = process.paused_until;
            return self
                .queue
                .push(until, ClusterEvent::Told { from, to, what });
        }
        match what {
            Told::Ping => self.pong(to, from),
            Told::Pong { incarnation, hears } => {
                let storage = self.machines[from.slot].storage;
                self.heard(to, from, storage);
                let incarnation = Some(incarnation);
                let hears: BTreeSet<StorageId> = hears.into_iter().collect();
                let news = LinkNews::Heard {
                    storage,
                    incarnation,
                    hears,
                };
                self.tell_controller(to, Input::Link(news));
            }
            Told::Heartbeat {
                sent_us,
                full,
                clock_off,
            } => {
                self.told_full(to, full.into_iter().collect());
                self.told_clock(to, clock_off);
                let answer = self.answer_of(to);
                self.say(to, from.slot, Told::Alive { sent_us, answer });
            }
            Told::Alive { sent_us, answer } => {
                let node = self.machines[from.slot].storage;
                let Some(process) = self.process(to) else {
                    return;
                };
                let sent = process.since_start(sent_us);
                self.tell_controller(to, Input::Answered { node, sent, answer });
            }
            Told::Probe { at, incarnation } => {
                let found = self.look(to, at);
                let what = Told::Probed {
                    at,
                    incarnation,
                    found,
                };
                self.say(to, from.slot, what);
            }
            Told::Probed {
                at,
                incarnation,
                found,
            } => self.probed(from, to, (at, incarnation), found),
            Told::Refused { slot, office } => self.refused(to, slot, office),
        }
    }

    fn probed(&mut self, from: Life, to: Life, of: (Slot, Incarnation), found: Look) {
        let (at, incarnation) = of;
        let (by, node) = (self.machines[from.slot].storage, self.machines[at].storage);
        let found = match found {
            Look::Refused => Probe::Refused,
            Look::Alive(_) => Probe::Answered,
            Look::Unknown => Probe::Silent,
        };
        let input = Input::Probed {
            by,
            node,
            incarnation,
            found,
        };
        self.tell_controller(to, input);
    }

    /// A connection to a process ended, and its address refuses another one.
    fn refused(&mut self, to: Life, slot: Slot, office: Office) {
        let (storage, incarnation) = (office.member, office.incarnation);
        let news = LinkNews::Lost {
            storage,
            incarnation,
        };
        self.tell_controller(to, Input::Link(news));
        if self.look(to, slot) == Look::Refused {
            let sign = Sign::RefusedTwice(incarnation);
            self.tell_controller(to, Input::Link(LinkNews::Seen { storage, sign }));
            self.took("a crash was seen");
        }
    }

    fn pong(&mut self, life: Life, to: Life) {
        let now = self.now;
        let Some(process) = self.process(life) else {
            return;
        };
        let heard = process.heard.iter();
        let lately = heard.filter(|(_, (at, _))| now <= at + HEARD_WITHIN_US);
        let hears = lately.map(|(storage, _)| *storage).collect();
        let incarnation = process.office.incarnation;
        self.say(life, to.slot, Told::Pong { incarnation, hears });
    }

    /// A process has heard another: perhaps a new start of it.
    fn heard(&mut self, life: Life, from: Life, storage: StorageId) {
        let now = self.now;
        let Some(other) = self.process(from) else {
            return;
        };
        let incarnation = other.office.incarnation;
        let Some(process) = self.process(life) else {
            return;
        };
        let before = process.heard.insert(storage, (now, from));
        if before.is_some_and(|(_, known)| known == from) {
            return;
        }
        let news = LinkNews::Up {
            storage,
            incarnation,
        };
        self.tell_controller(life, Input::Link(news));
        if before.is_some() {
            let sign = Sign::StartedAnew {
                incarnation,
                same_boot: true,
            };
            self.tell_controller(life, Input::Link(LinkNews::Seen { storage, sign }));
        }
    }

    /// What a process finds where another should be.
    pub(super) fn look(&mut self, by: Life, at: Slot) -> Look {
        if !self.network.connects(by.slot, at) {
            return Look::Unknown;
        }
        let now = self.now;
        match &self.machines[at].process {
            None if self.machines_off.contains(&at) => Look::Unknown,
            None => Look::Refused,
            Some(process) if process.is_paused(now) => Look::Unknown,
            Some(process) => Look::Alive(process.office.incarnation),
        }
    }

    /// Those that are connected to a process that died notice it.
    pub(super) fn seen_gone(&mut self, life: Life) {
        let slot = life.slot;
        let office = self.machines[slot].office();
        for other in 0..self.machines.len() {
            if other == slot || !self.network.passes(slot, other) {
                continue;
            }
            let Some(process) = &self.machines[other].process else {
                continue;
            };
            let to = process.life;
            let at = self.now + self.chance.network.between(1_000, 8_000);
            let what = Told::Refused { slot, office };
            self.queue.push(
                at,
                ClusterEvent::Told {
                    from: life,
                    to,
                    what,
                },
            );
        }
    }
}
