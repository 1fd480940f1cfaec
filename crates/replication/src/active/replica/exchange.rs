//! The side of a sweep that is asked. It keeps no state: a question that is repeated is answered
//! again. Knows nothing of why it is asked.

use bytes::Bytes;
use tablestore_placement::StorageId;

use super::{Place, Replica, Rows};
use crate::active::merkle::{LEAVES, Node, leaf_of};
use crate::active::message::{Message, Page, RequestNumber, SweepHead};
use crate::active::row::Row;

impl Replica {
    pub(super) fn on_sweep_message(&mut self, from: StorageId, message: Message, rows: &impl Rows) {
        match message {
            Message::Fence { head, floor } if self.is_even(from, &head) => {
                self.on_fence(from, head, floor);
            }
            Message::Compare { head, nodes } if self.is_even(from, &head) => {
                self.on_compare(from, head.request, &nodes);
            }
            Message::Exchange { head, page } if self.is_even(from, &head) => {
                self.on_exchange(from, head.request, page, rows);
            }
            Message::Proved { epoch, proof } if self.check_epoch(epoch).is_ok() => {
                self.adopt(proof);
            }
            Message::Fenced { request } => self.on_fenced(from, request),
            Message::Differ { request, nodes } => self.on_differ(from, request, nodes, rows),
            Message::Exchanged {
                request,
                page,
                refused,
            } => self.on_exchanged(from, request, page, refused, rows),
            Message::NotNow {
                request,
                epoch,
                proof,
            } => {
                if epoch > self.view.epoch {
                    self.outputs.push_back(super::Output::RefreshView);
                } else if epoch == self.view.epoch {
                    self.adopt(proof);
                    self.on_not_now(request);
                }
            }
            _ => {}
        }
    }

    /// Whether both are in one epoch and at one floor, without which there is nothing to compare.
    /// A replica that is rebuilt asks and is not asked: it may lack what it is taken to have.
    fn is_even(&mut self, from: StorageId, head: &SweepHead) -> bool {
        if self.check_epoch(head.epoch).is_ok() {
            self.adopt(head.proof.clone());
            let is_same = self.meta.proof.floor == head.proof.floor;
            if is_same && self.scan.is_none() && !self.meta.is_rebuilding {
                return true;
            }
        }
        self.not_now(from, head.request);
        false
    }

    pub(super) fn not_now(&mut self, to: StorageId, request: RequestNumber) {
        let (epoch, proof) = (self.view.epoch, self.meta.proof.clone());
        let message = Message::NotNow {
            request,
            epoch,
            proof,
        };
        self.send(to, message);
    }

    fn on_compare(&mut self, from: StorageId, request: RequestNumber, nodes: &[(Node, u128)]) {
        let known = nodes.iter().filter(|(node, _)| node.is_known());
        let differing = known.filter(|(node, sum)| self.tree.sum(*node) != *sum);
        let nodes = differing.map(|(node, _)| *node).collect();
        self.send_durable(from, Message::Differ { request, nodes });
    }

    fn on_exchange(
        &mut self,
        from: StorageId,
        request: RequestNumber,
        page: Page,
        rows: &impl Rows,
    ) {
        if page.leaf >= LEAVES {
            return;
        }
        let mut answer = self.page(page.leaf, page.after.clone(), rows);
        if answer.until.is_none() || page.until.is_some() && page.until < answer.until {
            answer.until = page.until.clone();
        }
        let until = answer.until.clone();
        let is_within = |key: &Bytes| until.as_ref().is_none_or(|until| key <= until);
        answer.rows.retain(|(key, row)| {
            let mut sent = page.rows.iter();
            let sent = sent.find(|(other, _)| other == key);
            is_within(key) && sent.is_none_or(|(_, sent)| !sent.includes(row))
        });
        self.status.rows_sent += answer.rows.len() as u64;
        let refused = self.take(page.rows, rows);
        let message = Message::Exchanged {
            request,
            page: answer,
            refused,
        };
        self.send_durable(from, message);
    }

    /// The rows of a leaf behind a key, as many as fit into a message.
    pub(super) fn page(&self, leaf: u32, after: Option<Bytes>, rows: &impl Rows) -> Page {
        let place = Place {
            leaf,
            key: after.clone(),
        };
        let rows_max = self.settings.entropy_rows_max;
        let found = rows.rows_behind(&place, rows_max);
        let is_last = found.len() < rows_max;
        let mut page = Page {
            leaf,
            after,
            until: None,
            rows: Vec::new(),
        };
        let mut bytes = 0;
        for (key, row) in found {
            if leaf_of(&key) != leaf {
                return page;
            }
            bytes += key.len() + row.size();
            // The first row is taken however large it is: otherwise the sweep would stand still.
            if bytes > self.settings.entropy_bytes_max && !page.rows.is_empty() {
                page.until = page.rows.last().map(|(key, _)| key.clone());
                return page;
            }
            page.rows.push((key, row.collected(self.meta.proof.floor)));
        }
        if !is_last {
            page.until = page.rows.last().map(|(key, _)| key.clone());
        }
        page
    }

    /// Merges rows of another replica, and says whether a part of one was refused.
    pub(super) fn take(&mut self, changes: Vec<(Bytes, Row)>, rows: &impl Rows) -> bool {
        let mut refused = false;
        for (key, change) in changes {
            let held = rows.row(&key);
            let on_time = if self.meta.is_rebuilding {
                change.clone()
            } else {
                change.above(self.meta.proof.floor, &held)
            };
            if self.check_drift(&change).is_err() || on_time != change && !held.includes(&change) {
                self.status.rows_refused += 1;
                refused = true;
                continue;
            }
            self.status.rows_taken += u64::from(!held.includes(&on_time));
            self.store(key, &held, &on_time);
        }
        refused
    }
}
