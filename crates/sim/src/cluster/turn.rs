//! Turns of planes and what follows from each: the host of a data plane in simulated time.
//! Decides nothing but how long things take.

use std::time::Duration;

use tablestore_dataplane::{GroupCommit, Host, Lane, LinkOrder, Notice, PlaneEvent};

use super::World;
use super::event::{ClusterEvent, Life, Waiter};

/// As in a server: deadlines of one such time share a turn.
const TICK: Duration = Duration::from_millis(10);
/// The job that flushes a partition.
const FLUSHING: &str = "flush";
/// The job that stores what came of a copy.
const COPYING: &str = "store a page of a copy";
/// How much longer that takes when the connection on which it came ends meanwhile.
const BROKEN_COPY_US: u64 = 40_000;
/// As in a server: the longest time without a turn.
const IDLE_MAX: Duration = Duration::from_millis(100);

impl World {
    /// Something happened to the plane of a process, if it still runs.
    pub(super) fn give(&mut self, life: Life, event: PlaneEvent<Waiter>) {
        if self.process(life).is_some() {
            self.tally.given(&event);
        }
        let turn_us = self.scenario.turn_us;
        if let Some(process) = self.process(life) {
            process.inbox.push(event);
            self.turn_at(life, self.now + turn_us);
        }
    }

    /// Sees to it that there is a turn at this time at the latest.
    pub(super) fn turn_at(&mut self, life: Life, at: u64) {
        let Some(process) = self.process(life) else {
            return;
        };
        let at = at.max(process.paused_until);
        if process.turn_at.is_none_or(|planned| at < planned) {
            process.turn_at = Some(at);
            self.queue.push(at, ClusterEvent::Turn(life));
        }
    }

    pub(super) fn turn(&mut self, life: Life) {
        let (now, wall_ms) = (self.now, self.machines[life.slot].wall_ms(self.now));
        let unwritten = self.sessions.unwritten(life, self.scenario.socket_bytes);
        let Some(process) = self.process(life) else {
            return;
        };
        if process.turn_at != Some(now) {
            return;
        }
        if process.is_paused(now) {
            process.turn_at = None;
            let until = process.paused_until;
            return self.turn_at(life, until);
        }
        (process.turn_at, process.last_turn) = (None, now);
        let time = process.now(now, wall_ms);
        process.plane.begin_turn(time);
        for (peer, bytes) in unwritten {
            process.plane.unwritten(peer, bytes);
        }
        let mut is_told_durable = false;
        for event in std::mem::take(&mut process.inbox) {
            is_told_durable |= matches!(event, PlaneEvent::Persisted(_));
            process.plane.handle(event);
        }
        process.plane.end_turn();
        let seen = process.plane.take_seen();
        self.judge(life, seen);
        if is_told_durable {
            self.judge_claims(life);
        }
        self.carry_out(life);
        if let Some(process) = self.process(life) {
            let since = process.since_start(now);
            let next = process.plane.next_deadline();
            let at = process.at(next.clamp(since + TICK, since + IDLE_MAX));
            self.turn_at(life, at);
        }
    }

    fn carry_out(&mut self, life: Life) {
        self.count_effects(life);
        let Some(process) = self.process(life) else {
            return;
        };
        let effects = process.plane.effects();
        let links = std::mem::take(&mut effects.links);
        let frames = std::mem::take(&mut effects.frames);
        let answers = std::mem::take(&mut effects.answers);
        let jobs = std::mem::take(&mut effects.jobs);
        let proposals = std::mem::take(&mut effects.proposals);
        let owned = std::mem::take(&mut effects.owned);
        let map_read = effects.map_read.take();
        let notices = std::mem::take(&mut effects.notices);
        let progress = std::mem::take(&mut effects.progress);
        process.journal.waiting.append(&mut effects.journal);
        for (partition, shown) in progress {
            match shown {
                Some(shown) => process.progress.insert(partition, shown),
                None => process.progress.remove(&partition),
            };
        }
        for order in links {
            self.link(life, order);
        }
        for (peer, frame) in frames {
            self.send_frame(life, peer, frame);
        }
        for (waiter, by, reply) in answers {
            self.active_given(waiter, by, &reply);
            let at = self.now + self.network.delay(&mut self.chance.network);
            let reply = Box::new(reply);
            self.queue
                .push(at, ClusterEvent::Answered { waiter, by, reply });
        }
        for job in jobs {
            let lane = job.lane();
            if let Some(process) = self.process(life) {
                process.lanes[lane as usize].waiting.push_back(job);
                self.run_lane(life, lane);
            }
        }
        for order in owned {
            self.owner_order(life, order);
        }
        for proposal in proposals {
            self.propose_for_plane(life, proposal);
        }
        if let Some(rounds) = map_read {
            self.read_map(life, rounds);
        }
        for notice in notices {
            self.notice(life, notice);
        }
        self.sync(life);
    }

    fn link(&mut self, life: Life, order: LinkOrder) {
        match order {
            LinkOrder::Dial { peer, link, .. } => {
                let at = self.now + self.network.delay(&mut self.chance.network);
                let from = life;
                self.queue.push(at, ClusterEvent::Dial { from, peer, link });
            }
            LinkOrder::Close { peer } => self.close(life, peer),
        }
    }

    fn notice(&mut self, life: Life, notice: Notice) {
        match &notice {
            Notice::Promoted { .. } => self.took("an office was given"),
            Notice::Serving { .. } => {
                self.offices += 1;
                self.took("an office serves");
            }
            Notice::ReplicaStopped { partition, why } => {
                let (partition, why) = (*partition, why.clone());
                self.took("a replica stopped");
                self.stopped(life, partition, &why);
            }
            Notice::ReplicasDiffer { partition, .. } => {
                let partition = *partition;
                self.fail("Copies", || format!("replicas of {partition} differ"));
            }
            Notice::PutAside { .. } => self.took("a partition was put aside"),
        }
        self.tell(|| format!("{life:?} {notice:?}"));
    }

    /// Begins to make durable what waits, unless that is under way.
    fn sync(&mut self, life: Life) {
        let (now, sync_us) = (self.now, self.machines[life.slot].sync_us);
        let took = self.chance.disks.between(sync_us / 2, sync_us * 2);
        let disk = self.machines[life.slot].disk.folder("journal");
        let Some(process) = self.process(life) else {
            return;
        };
        let journal = &mut process.journal;
        if journal.running.is_some() || journal.waiting.is_empty() || journal.failed {
            return;
        }
        let mut group = GroupCommit::default();
        for record in journal.waiting.drain(..) {
            journal.written.write(&record);
            group.push(&mut journal.writer, record);
        }
        match group.commit(&mut journal.writer) {
            Ok(committed) => {
                journal.running = Some((committed, disk.mark()));
                journal.running_since = now;
                self.queue.push(now + took, ClusterEvent::Synced(life));
            }
            Err(_) => {
                journal.failed = true;
                self.took("the journal failed");
                self.give(life, PlaneEvent::JournalFailed);
            }
        }
    }

    /// The group that was being synced is durable.
    pub(super) fn synced(&mut self, life: Life) {
        let disk = self.machines[life.slot].disk.folder("journal");
        let Some(process) = self.process(life) else {
            return;
        };
        let Some((committed, mark)) = process.journal.running.take() else {
            return;
        };
        disk.settle_to(mark);
        process.journal.persisted += committed.records;
        let persisted = process.journal.persisted;
        process.journal.held.clone_from(&committed.held);
        let written = std::mem::take(&mut process.journal.written);
        let machine = &mut self.machines[life.slot];
        machine.proven.clone_from(&machine.durable);
        machine.durable.take_in(written);
        self.active_synced(life.slot);
        self.give(life, PlaneEvent::Persisted(persisted));
        self.give(life, PlaneEvent::Held(committed.held));
        if !committed.trimmed.is_empty() {
            self.give(life, PlaneEvent::Trimmed(committed.trimmed));
            self.took("the journal let go of entries");
        }
        self.sync(life);
    }

    /// Begins the next job of a lane, if none runs.
    fn run_lane(&mut self, life: Life, lane: Lane) {
        let sync_us = match self.scenario.quick_lanes {
            true => 0,
            false => self.machines[life.slot].sync_us,
        };
        let most = match lane {
            Lane::Reads => 400,
            Lane::Upkeep => 4 * sync_us + 400,
            Lane::Copies => sync_us + 400,
        };
        let took = self.chance.disks.between(20, most);
        let at = self.now + took;
        let Some(process) = self.process(life) else {
            return;
        };
        let host = &mut process.lanes[lane as usize];
        if host.running.is_none()
            && let Some(job) = host.waiting.pop_front()
        {
            let name = job.name();
            host.running = Some(job);
            let broken = name == COPYING && self.breaks_copies(life);
            let at = if broken { at + BROKEN_COPY_US } else { at };
            self.queue.push(at, ClusterEvent::JobEnds(life, lane));
        }
    }

    /// Now and then all who send to a node lose their connections when it begins to store a page
    /// of a copy, and are back before that is done.
    fn breaks_copies(&mut self, life: Life) -> bool {
        let per_mille = self.scenario.resets_per_mille;
        if self.healed || per_mille == 0 || !self.chance.disks.happens(per_mille) {
            return false;
        }
        self.took("a copy was broken off");
        self.reset_connections_to(life);
        true
    }

    pub(super) fn job_ends(&mut self, life: Life, lane: Lane) {
        let machine = &self.machines[life.slot];
        let (engine, disk) = (machine.engine.clone(), machine.disk.folder("stopped"));
        let Some(process) = self.process(life) else {
            return;
        };
        let Some(job) = process.lanes[lane as usize].running.take() else {
            return;
        };
        let name = job.name();
        let host = Host {
            engine: engine.as_ref(),
            journal: &process.journal.reader,
            notes: &process.notes,
        };
        let done = job.run(&host);
        disk.settle();
        self.took(name);
        self.give(life, PlaneEvent::Done(done));
        if name == FLUSHING {
            self.judge_turns(life);
        }
        self.run_lane(life, lane);
    }
}
