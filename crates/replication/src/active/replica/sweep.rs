//! The side of a sweep that asks: compares sums from the root down, then exchanges the rows of
//! the leaves that differ. When it is complete, each has all that the other had when it began,
//! durably. Knows nothing of why it sweeps.

use std::collections::BTreeSet;

use bytes::Bytes;
use tablestore_placement::StorageId;

use super::{Replica, Rows};
use crate::active::merkle::Node;
use crate::active::message::{Message, Page, RequestNumber};
use crate::types::Now;

#[derive(Debug)]
pub(super) struct Sweep {
    pub(super) peer: StorageId,
    /// Nodes whose sums are still to be compared; at most all of a tree.
    uncompared: Vec<Node>,
    /// Leaves that differ, and how far the first of them is exchanged.
    leaves: BTreeSet<u32>,
    after: Option<Bytes>,
    /// The question that waits for an answer.
    asked: RequestNumber,
    question: Message,
    retries: u32,
    repeat_at: Now,
    /// A row was refused, on one of both sides.
    refused: bool,
    /// Everything is exchanged; it is complete when what was taken is durable here.
    done_at_token: Option<u64>,
}

impl Sweep {
    /// Nothing while it waits for the disk alone.
    pub(super) fn deadline(&self) -> Option<Now> {
        self.done_at_token.is_none().then_some(self.repeat_at)
    }

    pub(super) fn leaves_open(&self) -> usize {
        self.leaves.len()
    }
}

impl Replica {
    /// Goes on with whatever is due: repeats, ends, begins.
    pub(super) fn go_on_sweeping(&mut self, rows: &impl Rows) {
        let now = self.at.now;
        if self.scan.is_some() || !self.view.members().contains(&self.me) {
            return;
        }
        self.go_on_attempting();
        if let Some(sweep) = &mut self.sweep {
            if let Some(token) = sweep.done_at_token {
                if token <= self.synced {
                    self.end_sweep(true);
                }
            } else if sweep.repeat_at <= now {
                sweep.retries += 1;
                sweep.repeat_at = now + self.settings.resend_after;
                if sweep.retries > self.settings.sweep_retries_max {
                    self.end_sweep(false);
                } else {
                    let (to, question) = (sweep.peer, sweep.question.clone());
                    self.send_durable(to, question);
                }
            }
        }
        if self.sweep.is_none() {
            self.begin_next(rows);
        }
    }

    fn begin_next(&mut self, rows: &impl Rows) {
        if let Some(peer) = self.planned.pop_front() {
            self.begin_sweep(peer, rows);
        } else if self.attempt.is_none() && self.next_sweep_at <= self.at.now {
            self.next_sweep_at = self.at.now + self.sweep_pause();
            if self.proposes_floors() {
                self.begin_attempt();
            }
            if self.attempt.is_none() {
                self.planned = self.to_be_swept().into();
            }
        }
    }

    fn begin_sweep(&mut self, peer: StorageId, rows: &impl Rows) {
        self.sweep = Some(Sweep {
            peer,
            uncompared: vec![Node::ROOT],
            leaves: BTreeSet::new(),
            after: None,
            asked: RequestNumber::default(),
            question: Message::Fenced {
                request: RequestNumber::default(),
            },
            retries: 0,
            repeat_at: self.at.now,
            refused: false,
            done_at_token: None,
        });
        self.ask_next(rows);
    }

    fn ask_next(&mut self, rows: &impl Rows) {
        let head = self.head();
        let asked = head.request;
        let Some(sweep) = &mut self.sweep else { return };
        let question = if !sweep.uncompared.is_empty() {
            let count = sweep.uncompared.len();
            let from = count.saturating_sub(self.settings.compare_nodes_max);
            let nodes = sweep.uncompared.drain(from..);
            let nodes = nodes.map(|node| (node, self.tree.sum(node))).collect();
            Message::Compare { head, nodes }
        } else if let Some(leaf) = sweep.leaves.first().copied() {
            let after = sweep.after.clone();
            let page = self.page(leaf, after, rows);
            self.status.rows_sent += page.rows.len() as u64;
            Message::Exchange { head, page }
        } else {
            sweep.done_at_token = Some(self.issued);
            return;
        };
        let Some(sweep) = &mut self.sweep else { return };
        sweep.asked = asked;
        sweep.question = question.clone();
        sweep.retries = 0;
        sweep.repeat_at = self.at.now + self.settings.resend_after;
        let peer = sweep.peer;
        self.send_durable(peer, question);
    }

    fn asked(&mut self, from: StorageId, request: RequestNumber) -> Option<&mut Sweep> {
        let sweep = self.sweep.as_mut()?;
        let is_mine = sweep.asked == request && sweep.peer == from;
        (is_mine && sweep.done_at_token.is_none()).then_some(sweep)
    }

    pub(super) fn on_differ(
        &mut self,
        from: StorageId,
        request: RequestNumber,
        nodes: Vec<Node>,
        rows: &impl Rows,
    ) {
        let Some(sweep) = self.asked(from, request) else {
            return;
        };
        for node in nodes.into_iter().filter(|node| node.is_known()) {
            match node.leaf() {
                Some(leaf) => {
                    sweep.leaves.insert(leaf);
                }
                None => sweep.uncompared.extend(node.children()),
            }
        }
        self.ask_next(rows);
    }

    pub(super) fn on_exchanged(
        &mut self,
        from: StorageId,
        request: RequestNumber,
        page: Page,
        refused: bool,
        rows: &impl Rows,
    ) {
        let Some(sweep) = self.asked(from, request) else {
            return;
        };
        sweep.refused |= refused;
        sweep.after = page.until;
        if sweep.after.is_none() {
            sweep.leaves.pop_first();
        }
        let refused = self.take(page.rows, rows);
        if let Some(sweep) = &mut self.sweep {
            sweep.refused |= refused;
        }
        self.ask_next(rows);
    }

    /// The other cannot go on: this ends the sweep, or the attempt for which it was asked.
    pub(super) fn on_not_now(&mut self, request: RequestNumber) {
        if self
            .sweep
            .as_ref()
            .is_some_and(|sweep| sweep.asked == request)
        {
            self.end_sweep(false);
        }
    }

    fn end_sweep(&mut self, complete: bool) {
        let Some(sweep) = self.sweep.take() else {
            return;
        };
        if !complete || sweep.refused {
            self.status.sweeps_failed += 1;
            if self.attempt.take().is_some() {
                self.planned = self.others().into();
            }
            return;
        }
        self.status.sweeps += 1;
        self.note_swept(sweep.peer);
        self.note_met(sweep.peer);
        if self.planned.is_empty() && self.attempt.is_some() {
            self.finish_attempt();
        }
    }
}
