//! One follower as its primary sees it: session, what it has, what is on the way to it. Knows
//! nothing of the in-sync set, of clients or of other followers.

use std::collections::VecDeque;

use tablestore_placement::{Epoch, Office, StorageId};

use crate::message::{LogPoint, Message};
use crate::output::Output;
use crate::replica::apply::ReadFor;
use crate::replica::core::Core;
use crate::types::Now;

/// How far the primary is with a follower.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FollowerState {
    /// `Sync` was sent, the answer is awaited.
    Syncing,
    /// Entries are sent as they come.
    Streaming,
    /// A snapshot is on its way.
    Snapshot,
    /// It would need a snapshot, which an in-sync member never gets.
    Lost,
}

/// A follower's progress.
#[derive(Debug)]
pub(crate) struct Follower {
    pub(crate) member: StorageId,
    pub(crate) state: FollowerState,
    /// Of the last `Sync`.
    nonce: u64,
    /// Who answered the last `Sync`: what it has is known of this start only.
    start: Option<Office>,
    /// Its log is durable and equal to the primary's up to here.
    pub(crate) matched: u64,
    /// The next index to send.
    next: u64,
    /// Last index and bytes of each append on the way.
    on_the_way: VecDeque<(u64, usize)>,
    bytes_on_the_way: usize,
    /// After a timeout one append goes out at a time until something is acknowledged.
    probing: bool,
    /// The last sign of progress, or the first message that awaits one.
    quiet_since: Now,
    pub(crate) commit_known: u64,
    commit_sent: u64,
    commit_due: Option<Now>,
    /// The log end that the present round must reach, and since when it is awaited.
    round: Option<(u64, Now)>,
    /// The last round took no longer than `caught_up_within`.
    caught_up: bool,
    /// The log is kept for this follower from here.
    pub(crate) pin: Option<u64>,
}

impl Follower {
    pub(crate) fn new(member: StorageId, now: Now) -> Self {
        Self {
            member,
            state: FollowerState::Syncing,
            nonce: 0,
            start: None,
            matched: 0,
            next: 1,
            on_the_way: VecDeque::new(),
            bytes_on_the_way: 0,
            probing: false,
            quiet_since: now,
            commit_known: 0,
            commit_sent: 0,
            commit_due: None,
            round: None,
            caught_up: false,
            pin: None,
        }
    }

    /// Opens a session, also in place of one that is open. `nonce` rises within the epoch.
    pub(crate) fn open_session(&mut self, core: &mut Core, nonce: u64) {
        self.nonce = nonce;
        self.state = FollowerState::Syncing;
        self.forget_on_the_way();
        self.probing = false;
        self.quiet_since = core.now;
        // An in-sync member has everything up to the commit mark, so this may be all it lacks. A
        // new connection is offered a session by every replica at once: only what it takes.
        let entries = if core.crowded.contains(&self.member) {
            Vec::new()
        } else {
            let bytes = core.settings.append_bytes_max;
            core.tail.suffix(core.commit + 1, bytes)
        };
        let message = Message::Sync {
            epoch: core.adopted,
            nonce,
            history: core.history.starts().to_vec(),
            end: core.end(),
            commit: core.commit,
            first: core.first,
            entries,
        };
        core.send(self.member, message);
    }

    /// Sends no `Sync` now but lets the timeout do it.
    pub(crate) fn open_session_later(&mut self, now: Now) {
        self.state = FollowerState::Syncing;
        self.nonce = u64::MAX;
        self.quiet_since = now;
    }

    /// The answer to the last `Sync`: entries can be sent. Says whether a snapshot is needed.
    pub(crate) fn on_synced(
        &mut self,
        core: &Core,
        from: Office,
        nonce: u64,
        end: u64,
        commit: u64,
        needs_snapshot: bool,
    ) -> bool {
        if self.state != FollowerState::Syncing || nonce != self.nonce || end > core.end() {
            return false;
        }
        if needs_snapshot || end + 1 < core.first {
            return true;
        }
        self.state = FollowerState::Streaming;
        self.start = Some(from);
        self.matched = end;
        self.next = end + 1;
        self.pin = Some(end + 1);
        self.commit_known = commit;
        self.commit_sent = commit;
        self.progressed(core);
        false
    }

    /// It has everything up to `end` durably.
    pub(crate) fn on_ack(&mut self, core: &Core, end: u64, received: u64, commit: u64) {
        let log_end = core.end();
        self.matched = self.matched.max(end.min(log_end));
        if self.state == FollowerState::Streaming {
            let received = received.min(log_end);
            self.next = self.next.max(received + 1);
            self.pin = Some(self.matched + 1);
        }
        self.commit_known = self.commit_known.max(commit);
        while let Some((last, bytes)) = self.on_the_way.front().copied() {
            if last > self.matched {
                break;
            }
            self.bytes_on_the_way -= bytes;
            self.on_the_way.pop_front();
        }
        self.progressed(core);
    }

    fn progressed(&mut self, core: &Core) {
        self.quiet_since = core.now;
        self.probing = false;
        let took = match self.round {
            Some((end, _)) if end > self.matched => return,
            Some((_, since)) => core.now.saturating_sub(since),
            None => Now::ZERO,
        };
        let end = core.end();
        self.caught_up = self.matched == end || took <= core.settings.caught_up_within;
        self.round = (self.matched < end).then_some((end, core.now));
    }

    /// An append did not follow its log end.
    pub(crate) fn on_gap(&mut self, end: u64) {
        let streaming = self.state == FollowerState::Streaming;
        if streaming && end >= self.matched && end + 1 < self.next {
            self.next = end + 1;
            self.forget_on_the_way();
        }
    }

    fn forget_on_the_way(&mut self) {
        self.on_the_way.clear();
        self.bytes_on_the_way = 0;
    }

    /// Sends what the window allows. Says whether a snapshot is needed, because the journal no
    /// longer has what comes next.
    pub(crate) fn pump(&mut self, core: &mut Core) -> bool {
        let end = core.end();
        if self.matched < end && self.round.is_none() {
            self.round = Some((end, core.now));
        }
        if self.state != FollowerState::Streaming {
            return false;
        }
        if self.next < core.first {
            return true;
        }
        while self.next <= end
            && !core.crowded.contains(&self.member)
            && self.bytes_on_the_way < core.settings.window_bytes_max
            && (!self.probing || self.on_the_way.is_empty())
        {
            let bytes = core.settings.append_bytes_max;
            let entries = core.tail.range(self.next, end, bytes, usize::MAX);
            if entries.is_empty() {
                core.read_log(self.next, end, ReadFor::Follower(self.member));
                break;
            }
            self.send_append(core, entries);
        }
        if self.commit_sent >= core.commit {
            self.commit_due = None;
        } else if self.commit_due.is_none() {
            self.commit_due = Some(core.now + core.settings.commit_idle_after);
        }
        false
    }

    /// Entries that were read back from the journal. While the member is crowded they are held back
    /// like all others, and read again later: what was asked for one member after the other comes
    /// at once.
    pub(crate) fn send_read(&mut self, core: &mut Core, entries: Vec<crate::Entry>) {
        let follows = entries.first().is_some_and(|e| e.index == self.next);
        let takes = !core.crowded.contains(&self.member);
        if follows && takes && self.state == FollowerState::Streaming {
            self.send_append(core, entries);
        }
    }

    fn send_append(&mut self, core: &mut Core, entries: Vec<crate::Entry>) {
        let Some(last) = entries.last().map(|entry| entry.index) else {
            return;
        };
        if !self.awaits_answer() {
            self.quiet_since = core.now;
        }
        let bytes = entries.iter().map(crate::Entry::cost).sum();
        self.on_the_way.push_back((last, bytes));
        self.bytes_on_the_way += bytes;
        let prev = LogPoint {
            epoch: core.history.epoch_at(self.next - 1),
            index: self.next - 1,
        };
        self.next = last + 1;
        self.commit_sent = core.commit;
        core.send(
            self.member,
            Message::Append {
                epoch: core.adopted,
                prev,
                commit: core.commit,
                entries,
            },
        );
    }

    /// Whether something was sent that an answer must follow.
    fn awaits_answer(&self) -> bool {
        match self.state {
            FollowerState::Syncing => true,
            FollowerState::Streaming => {
                self.next > self.matched + 1 || self.commit_known < self.commit_sent
            }
            FollowerState::Snapshot | FollowerState::Lost => false,
        }
    }

    /// Whether entries wait only because too much is on the way to this member.
    pub(crate) fn is_held_back(&self, core: &Core) -> bool {
        self.state == FollowerState::Streaming
            && self.next <= core.end()
            && core.crowded.contains(&self.member)
    }

    /// When something is to be repeated or the commit mark to be told.
    pub(crate) fn deadline(&self, core: &Core) -> Option<Now> {
        if core.down.contains_key(&self.member) {
            return None;
        }
        let repeat = self
            .awaits_answer()
            .then(|| self.quiet_since + core.settings.resend_after);
        let commit = self
            .commit_due
            .filter(|_| self.state == FollowerState::Streaming);
        [repeat, commit].into_iter().flatten().min()
    }

    /// Repeats what was not answered. Says whether a session is to be opened.
    pub(crate) fn tick(&mut self, core: &mut Core) -> bool {
        if core.down.contains_key(&self.member) {
            return false;
        }
        if core.crowded.contains(&self.member) {
            // What it has not answered may not even have left; to repeat it would crowd more.
            self.quiet_since = core.now;
        }
        let overdue =
            self.awaits_answer() && self.quiet_since + core.settings.resend_after <= core.now;
        if overdue {
            if self.state == FollowerState::Syncing {
                return true;
            }
            self.quiet_since = core.now;
            self.probing = true;
            self.next = self.next.min(self.matched + 1);
            self.forget_on_the_way();
            if self.matched == core.end() {
                self.send_commit(core);
            }
        }
        if self.state == FollowerState::Streaming
            && self.commit_due.is_some_and(|due| due <= core.now)
        {
            self.send_commit(core);
        }
        false
    }

    fn send_commit(&mut self, core: &mut Core) {
        if !self.awaits_answer() {
            self.quiet_since = core.now;
        }
        self.commit_due = None;
        self.commit_sent = core.commit;
        let (epoch, commit): (Epoch, u64) = (core.adopted, core.commit);
        core.send(self.member, Message::Commit { epoch, commit });
    }

    /// A snapshot is on its way; the log is kept from behind it.
    pub(crate) fn start_snapshot(&mut self, core: &mut Core) {
        self.state = FollowerState::Snapshot;
        self.pin = Some(core.applied + 1);
        core.output(Output::SendSnapshot {
            to: self.member,
            epoch: core.adopted,
        });
    }

    /// Since when entries wait for this follower.
    pub(crate) fn waited_for_since(&self) -> Option<Now> {
        self.round.map(|(_, since)| since)
    }

    /// It has what was the log end a moment ago, and entries do not wait for it longer.
    pub(crate) fn is_caught_up(&self, core: &Core) -> bool {
        self.state == FollowerState::Streaming
            && self.caught_up
            && self.matched >= core.commit
            && self
                .round
                .is_none_or(|(_, since)| core.now <= since + core.settings.caught_up_within)
    }

    /// The start of which is known what it has.
    pub(crate) fn start(&self) -> Option<Office> {
        self.start
    }

    /// The primary itself was stopped for a while: nothing is held against the follower.
    pub(crate) fn forgive(&mut self, now: Now) {
        if let Some((_, since)) = &mut self.round {
            *since = now;
        }
    }
}
