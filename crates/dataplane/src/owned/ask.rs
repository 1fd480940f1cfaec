//! Requests to a partition whose office this node holds, and their answers.

use bytes::Bytes;
use tablestore_placement::PartitionId;
use tablestore_store::Engine;
use tablestore_store::engine::Scan;

use super::{Held, OwnedOrder, State};
use crate::mutant::Mutant;
use crate::plane::Plane;
use crate::request::{Answer, Failure, Operation, Reply, Request, Stage};

/// What is asked of an open partition.
#[derive(Debug, Clone)]
pub enum OwnedAsk {
    /// Carry out a mutation, once.
    Write {
        /// The request's id.
        request: u128,
        /// Of the payload.
        digest: u64,
        /// The encoded mutation.
        payload: Bytes,
    },
    /// Read one row.
    Get {
        /// Its encoded key.
        key: Bytes,
        /// Have the office confirmed first.
        strong: bool,
    },
    /// Read a range.
    Scan {
        /// Which one, with its bounds.
        scan: Scan,
        /// As in `Get`.
        strong: bool,
    },
}

impl OwnedAsk {
    /// Nothing for what such a partition does not do.
    fn of(operation: &Operation, page_bytes_max: usize) -> Option<Self> {
        Some(match operation {
            Operation::Write {
                request,
                digest,
                payload,
            } => Self::Write {
                request: *request,
                digest: *digest,
                payload: payload.clone(),
            },
            Operation::Get { key, strong } => Self::Get {
                key: key.clone(),
                strong: *strong,
            },
            Operation::Scan { strong, .. } => Self::Scan {
                scan: operation.as_scan(page_bytes_max)?,
                strong: *strong,
            },
            Operation::Checksum => return None,
        })
    }
}

impl<E: Engine, W> Plane<E, W> {
    /// Hands a request to the partition, whose office this start has; while that is not open it
    /// waits here, also if a peer sent it.
    pub(crate) fn ask_owned(&mut self, ticket: u64, partition: PartitionId) {
        let Some(request) = self.requests.get(ticket) else {
            return;
        };
        let Some(ask) = OwnedAsk::of(&request.operation, self.settings.page_bytes_max) else {
            return self.fail(ticket, Failure::Stopped);
        };
        let held = self.owned.held.get(&partition);
        if held.is_some_and(Held::is_faulty) {
            return self.fail(ticket, Failure::NoStorage);
        }
        let open = held.filter(|held| matches!(held.state, State::Open { .. }));
        let Some(life) = open.map(|held| held.life) else {
            return self.requests.enter(ticket, Stage::Parked);
        };
        self.requests.enter(ticket, Stage::Core);
        self.out.owned.push(OwnedOrder::Ask {
            ticket,
            partition,
            life,
            ask,
        });
    }

    /// What the partition answered. A request that has left it since then has been looked at
    /// again, and this answers nobody.
    pub(crate) fn owned_answered(&mut self, ticket: u64, result: Result<Answer, Failure>) {
        let request = self.requests.get(ticket);
        let Some(request) = request.filter(|request| request.stage == Stage::Core) else {
            return;
        };
        let (partition, is_write) = (request.partition, Request::is_write(request));
        match result {
            Err(Failure::NotHere) => self.park(ticket, false),
            Err(Failure::Unknown) => {
                let forgets = self.settings.has(Mutant::OwnedOutcomeForgotten);
                self.park(ticket, !forgets);
            }
            result => {
                if result.is_ok() {
                    self.counts.writes += u64::from(is_write);
                    self.counts.reads += u64::from(!is_write);
                }
                let epoch = self.epoch_of(partition);
                self.answer(ticket, Reply { epoch, result });
            }
        }
    }
}
