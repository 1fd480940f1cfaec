//! A replica under a primary: sessions, appends, acknowledgements, confirmations. Knows nothing
//! of clients and of other backups.

use tablestore_placement::{Epoch, Office, StorageId};

use crate::entry::Entry;
use crate::history::{CommonPoint, EpochHistory};
use crate::message::{LogPoint, Message};
use crate::mutant::Mutant;
use crate::replica::core::Core;
use crate::types::Now;

/// The log is a prefix of the primary's log, from `Sync` until a newer epoch is adopted.
#[derive(Clone, Copy, Debug)]
struct Session {
    nonce: u64,
    primary: StorageId,
    /// The end of the log when the session began, and the token that makes it durable.
    began: (u64, u64),
    /// Acknowledged as durable up to here.
    acked: u64,
}

/// What a replica knows of its primary.
#[derive(Debug, Default)]
pub(crate) struct Backup {
    session: Option<Session>,
    /// The log end for which a gap was reported, and when.
    gap_said: Option<(u64, Now)>,
}

/// The content of `Message::Sync` beside epoch and nonce.
pub(crate) struct SyncOffer {
    pub(crate) history: EpochHistory,
    pub(crate) end: u64,
    pub(crate) commit: u64,
    pub(crate) entries: Vec<Entry>,
}

impl Backup {
    /// A newer epoch was adopted, or a snapshot replaced the log.
    pub(crate) fn end_session(&mut self) {
        *self = Self::default();
    }

    /// A message of the primary of the adopted epoch.
    pub(crate) fn on_message(&mut self, core: &mut Core, from: Office, message: Message) {
        let is_confirm = matches!(message, Message::Confirm { .. });
        if core.installing && !is_confirm {
            // The log is about to be replaced; the primary repeats what it says.
            return;
        }
        match message {
            Message::Sync {
                nonce,
                history,
                end,
                commit,
                entries,
                ..
            } => {
                let offer = SyncOffer {
                    history: EpochHistory::new(history),
                    end,
                    commit,
                    entries,
                };
                self.on_sync(core, from.member, nonce, offer);
            }
            Message::Append {
                prev,
                commit,
                entries,
                ..
            } => self.on_append(core, from.member, prev, commit, entries),
            Message::Commit { commit, .. } => self.on_commit(core, from.member, commit),
            Message::Confirm { epoch, round } => {
                let confirmed = Message::Confirmed { epoch, round };
                core.send_when_durable(core.adopted_token, from.member, confirmed);
            }
            _ => {}
        }
    }

    fn on_sync(&mut self, core: &mut Core, from: StorageId, nonce: u64, offer: SyncOffer) {
        if let Some(session) = self.session {
            if nonce > session.nonce {
                self.session = None;
            } else {
                // Late or repeated: the log may have grown since, it must not be cut to this.
                if nonce == session.nonce {
                    self.send_synced(core, session);
                }
                return;
            }
        }
        let common = common_point(core, &offer);
        let (CommonPoint::At(common), false) = (common, core.hollow) else {
            ask_for_snapshot(core, from, nonce);
            return;
        };
        if common < core.end() {
            if core.history.epoch_at(common + 1) >= core.adopted {
                // Entries of this epoch came from this primary, whose log only grows: the
                // message is late.
                return;
            }
            if common < core.commit {
                core.halt("a backup never truncates at or below its commit index");
                return;
            }
            core.truncate(common);
        }
        for entry in offer.entries {
            if entry.index == core.end() + 1 {
                core.append_received(entry);
            }
        }
        core.commit_to(offer.commit);
        let began = (core.end(), core.pending.last_token());
        let session = Session {
            nonce,
            primary: from,
            began,
            acked: began.0,
        };
        self.session = Some(session);
        core.unproven = false;
        self.gap_said = None;
        self.send_synced(core, session);
    }

    fn send_synced(&self, core: &mut Core, session: Session) {
        let message = Message::Synced {
            epoch: core.adopted,
            nonce: session.nonce,
            end: session.began.0,
            commit: core.commit,
            needs_snapshot: false,
        };
        core.send_when_durable(session.began.1, session.primary, message);
    }

    fn on_append(
        &mut self,
        core: &mut Core,
        from: StorageId,
        prev: LogPoint,
        commit: u64,
        entries: Vec<Entry>,
    ) {
        if !self.is_open(core, from) {
            return;
        }
        if prev.index > core.end() {
            self.say_gap(core, from);
            return;
        }
        let is_known = prev.index == 0 || prev.epoch > Epoch(0);
        if is_known && !core.history.may_have(prev.epoch, prev.index) {
            core.halt("a log in a session is a prefix of the primary's log");
            return;
        }
        let end_before = core.end();
        for entry in entries {
            if entry.index == core.end() + 1 {
                core.append_received(entry);
            }
        }
        core.commit_to(commit);
        if core.end() == end_before {
            self.send_ack(core);
        } else if core.settings.has(Mutant::AckBeforeSync) {
            let message = Message::Ack {
                epoch: core.adopted,
                end: core.end(),
                received: core.end(),
                commit: core.commit,
            };
            core.send(from, message);
        }
    }

    fn on_commit(&mut self, core: &mut Core, from: StorageId, commit: u64) {
        if self.is_open(core, from) {
            core.commit_to(commit);
            self.send_ack(core);
        }
    }

    fn is_open(&self, core: &mut Core, from: StorageId) -> bool {
        let open = self.session.is_some();
        if !open {
            let epoch = core.adopted;
            core.send_when_durable(core.adopted_token, from, Message::NoSession { epoch });
        }
        open
    }

    /// Once for every log end, and again when the repetition may have been lost.
    fn say_gap(&mut self, core: &mut Core, from: StorageId) {
        let end = core.end();
        let said = self
            .gap_said
            .is_some_and(|(at, when)| at == end && core.now < when + core.settings.resend_after);
        if !said {
            self.gap_said = Some((end, core.now));
            let epoch = core.adopted;
            core.send(from, Message::Gap { epoch, end });
        }
    }

    /// More of the log may have become durable.
    pub(crate) fn acknowledge(&mut self, core: &mut Core) {
        let durable = core.pending.durable();
        if self.session.is_some_and(|session| session.acked < durable) {
            self.send_ack(core);
        }
    }

    fn send_ack(&mut self, core: &mut Core) {
        let end = core.pending.durable();
        let Some(session) = &mut self.session else {
            return;
        };
        session.acked = session.acked.max(end);
        let message = Message::Ack {
            epoch: core.adopted,
            end,
            received: core.end(),
            commit: core.commit,
        };
        let to = session.primary;
        // The adoption comes before the entries in the journal, but may be all there is.
        core.send_when_durable(core.adopted_token, to, message);
    }
}

/// What is above the commit mark goes first, durably: were it still there after a crash between
/// the switch to the snapshot and the restart of the log, it would pass for the log behind it.
fn ask_for_snapshot(core: &mut Core, from: StorageId, nonce: u64) {
    if core.end() > core.commit && !core.is_in_sync_member() {
        core.truncate(core.commit);
    }
    let message = Message::Synced {
        epoch: core.adopted,
        nonce,
        end: 0,
        commit: 0,
        needs_snapshot: true,
    };
    core.send_when_durable(core.pending.last_token(), from, message);
}

fn common_point(core: &Core, offer: &SyncOffer) -> CommonPoint {
    let last = core.history.last_epoch();
    let is_known = || offer.history.starts().iter().any(|one| one.epoch == last);
    if core.settings.has(Mutant::UnknownEpoch) && !is_known() {
        return CommonPoint::At(core.end().min(offer.end));
    }
    core.history
        .common_point(core.end(), &offer.history, offer.end)
}
