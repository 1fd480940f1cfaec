//! What the map and other replicas say: which epoch holds, who is in office, and to which role a
//! message goes.

use tablestore_placement::{Epoch, Office};

use crate::message::Message;
use crate::replica::Replica;
use crate::replica::primary::Primary;
use crate::types::View;

impl Replica {
    /// The map says something. Versions never go back.
    pub(crate) fn on_assignment(&mut self, view: View) {
        let held = self.core.view.as_ref().map(|held| held.assignment.version);
        if held.is_some_and(|held| view.assignment.version < held) {
            return;
        }
        let (epoch, office) = (view.assignment.epoch, view.assignment.primary);
        let version = view.assignment.version;
        if held.is_none() && self.core.end() == 0 && self.core.adopted == Epoch(0) {
            let in_sync = &view.assignment.in_sync;
            self.core.unproven = !in_sync.contains(&self.core.me.member);
        }
        self.core.view = Some(view);
        if epoch > self.core.adopted {
            self.adopt(epoch);
        }
        if epoch != self.core.adopted {
            return;
        }
        if let Some(primary) = &mut self.primary {
            // Versions in between may have sent a replica away and called it back, empty.
            let passed_over = held.is_some_and(|held| version > held.next());
            primary.on_assignment(&mut self.core, passed_over);
        } else if office == Some(self.core.me) && epoch > self.office_floor {
            self.take_office(epoch);
        }
    }

    fn take_office(&mut self, epoch: Epoch) {
        self.office_floor = epoch;
        if self.core.hollow || self.core.installing {
            self.halt("a primary has the whole log behind its state");
            return;
        }
        if self.core.unproven {
            // Sent away and called back, it may be believed to have what was dropped with its
            // predecessor: without an office nothing of that is lost, only waited for.
            self.halt("a replica that was opened empty takes an office only after it was in step");
            return;
        }
        self.primary = Primary::take_office(&mut self.core);
    }

    /// A newer epoch: whatever office or session there was is over.
    pub(crate) fn adopt(&mut self, epoch: Epoch) {
        self.core.adopt(epoch);
        self.backup.end_session();
        if let Some(primary) = self.primary.take() {
            primary.depose(&mut self.core);
        }
    }

    pub(crate) fn on_message(&mut self, from: Office, message: Message) {
        let epoch = message.epoch();
        if let Message::Stale { .. } = message {
            // The epoch is of the map, so my office is over, whoever holds it now.
            if epoch > self.core.adopted {
                self.adopt(epoch);
            }
            return;
        }
        if epoch < self.core.adopted {
            if message.is_from_primary() {
                let stale = Message::Stale {
                    epoch: self.core.adopted,
                    refused: epoch,
                };
                self.core.send(from.member, stale);
            }
            return;
        }
        if message.is_from_primary() {
            if epoch > self.core.adopted {
                self.adopt(epoch);
            }
            if self.primary.is_none() {
                self.backup.on_message(&mut self.core, from, message);
            }
        } else if let Some(primary) = &mut self.primary
            && epoch == primary.epoch
        {
            primary.on_message(&mut self.core, from, message);
        }
    }
}
