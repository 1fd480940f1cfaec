//! Carrying out what a replica asks for.

use bytes::Bytes;
use tablestore_placement::{Command, Epoch, PartitionId, StorageId};
use tablestore_replication::{
    Entry, Input, Output, PartitionMeta, PersistRecord, ReadRefused, Role, WriteRefused, Written,
};
use tablestore_store::Meta;

use super::event::Event;
use super::journal::Job;
use super::plane::Plane;
use super::request::{Answer, Failure, Reply};
use crate::control::ProposeError;
use crate::node::wall_ms;
use crate::wire::DataMessage;

/// The journal's form of a partition's state.
pub(crate) fn journal_meta(meta: &PartitionMeta) -> Meta {
    Meta {
        adopted: meta.adopted.0,
        end: meta.end,
        history: meta
            .history
            .iter()
            .map(|start| (start.epoch.0, start.index))
            .collect(),
        commit: meta.commit,
    }
}

fn journal_job(partition: PartitionId, record: PersistRecord) -> Job {
    let partition = partition.to_u64();
    match record {
        PersistRecord::Entry(Entry { epoch, index, data }) => Job::Entry {
            partition,
            epoch: epoch.0,
            index,
            data,
        },
        PersistRecord::Meta(meta) => Job::Meta {
            partition,
            meta: journal_meta(&meta),
        },
        PersistRecord::Restart(meta) => Job::Restart {
            partition,
            meta: journal_meta(&meta),
        },
    }
}

impl Plane {
    pub(super) fn carry_out(&mut self, partition: PartitionId, output: Output) {
        match output {
            Output::Persist { token, record } => {
                self.persist(partition, token, journal_job(partition, record));
            }
            Output::Send { to, message } => {
                self.ports
                    .links
                    .tell(to, &DataMessage::Replication { partition, message });
            }
            Output::Apply { .. } | Output::ChecksumDue { .. } => unreachable!("done when fed"),
            Output::WriteDone { ticket, result } => self.write_done(partition, ticket.0, result),
            Output::ReadReady { ticket, epoch } => self.read_ready(ticket.0, epoch),
            Output::ReadRefused { ticket, why } => self.read_refused(partition, ticket.0, why),
            Output::ConfirmByMap { round } => self.ports.map_reads.push((partition, round)),
            Output::Propose {
                epoch,
                version,
                in_sync,
                joiner,
            } => {
                // The start that was brought up to date, whatever the map says by now.
                let sessions = &self.ports.links.sessions;
                let joiner =
                    joiner.and_then(|storage| Some((storage, sessions.start_of(storage)?)));
                let command = Command::ProposeInSync {
                    partition,
                    epoch,
                    version,
                    office: self.ports.me,
                    in_sync,
                    joiner,
                    at_ms: wall_ms(),
                };
                self.propose(partition, version, command);
            }
            Output::ReadLog {
                from,
                to,
                bytes_max,
            } => self.read_log(partition, from, to, bytes_max),
            Output::SendSnapshot { to, epoch } => self.send_snapshot(partition, to, epoch),
            Output::InstallSnapshot { from: _, meta } => self.install_snapshot(partition, meta),
            Output::DropSnapshot { from: _ } => self.ports.transfers.drop_offered(),
            Output::RoleChanged {
                role,
                epoch,
                serving,
            } => {
                self.role_changed(partition, role, epoch, serving);
            }
            Output::ChecksumRefused { id } => self.checksum_refused(partition, id),
            Output::Resigned => self.resigned(partition),
            Output::Halted { invariant } => self.halted(partition, invariant),
        }
    }

    fn write_done(
        &mut self,
        partition: PartitionId,
        ticket: u64,
        result: Result<Written, WriteRefused>,
    ) {
        let epoch = match &result {
            Ok(written) => written.epoch,
            Err(_) => self.epoch_of(partition),
        };
        let failure = match result {
            Ok(Written {
                outcome, repeated, ..
            }) => {
                self.ports.metrics.writes.add(1);
                let answer = Answer::Written {
                    code: outcome.code,
                    version: outcome.version,
                    repeated,
                };
                return self.answer(
                    ticket,
                    Reply {
                        epoch,
                        result: Ok(answer),
                    },
                );
            }
            Err(WriteRefused::NotPrimary { .. }) => return self.park(ticket, false),
            Err(WriteRefused::Unknown) => return self.park(ticket, true),
            Err(WriteRefused::NotEnoughReplicas { .. }) => Failure::NotEnoughReplicas,
            Err(WriteRefused::RequestMismatch) => Failure::RequestMismatch,
            Err(WriteRefused::Busy) => Failure::Busy,
            Err(_) => Failure::Stopped,
        };
        self.answer(
            ticket,
            Reply {
                epoch,
                result: Err(failure),
            },
        );
    }

    fn read_refused(&mut self, partition: PartitionId, ticket: u64, why: ReadRefused) {
        let failure = match why {
            ReadRefused::NotPrimary { .. } => return self.park(ticket, false),
            ReadRefused::Unconfirmed => Failure::Unconfirmed,
            ReadRefused::Busy => Failure::Busy,
            _ => Failure::Stopped,
        };
        let epoch = self.epoch_of(partition);
        self.answer(
            ticket,
            Reply {
                epoch,
                result: Err(failure),
            },
        );
    }

    /// The epoch of a partition as this node's map has it.
    pub(super) fn epoch_of(&self, partition: PartitionId) -> Epoch {
        self.ports
            .map
            .assignment(partition)
            .map_or(Epoch(0), |assignment| assignment.epoch)
    }

    fn propose(
        &self,
        partition: PartitionId,
        version: tablestore_placement::AssignmentVersion,
        command: Command,
    ) {
        let (control, sender) = (self.ports.control.clone(), self.ports.sender.clone());
        tokio::spawn(async move {
            let refused = match control.propose(command).await {
                Err(ProposeError::Refused(_)) => Some(version),
                Ok(_) | Err(_) => None,
            };
            sender.send(Event::Proposed { partition, refused }).await;
        });
    }

    /// One linearizable read of the map for all rounds that wait for one.
    pub(super) fn read_map(&mut self) {
        if self.ports.map_reading || self.ports.map_reads.is_empty() {
            return;
        }
        self.ports.map_reading = true;
        let rounds = std::mem::take(&mut self.ports.map_reads);
        let (control, sender) = (self.ports.control.clone(), self.ports.sender.clone());
        tokio::spawn(async move {
            let map = control.read_index().await.ok();
            sender.send(Event::MapRead { rounds, map }).await;
        });
    }

    fn read_log(&mut self, partition: PartitionId, from: u64, to: u64, bytes_max: usize) {
        let (reader, sender) = (self.ports.reader.clone(), self.ports.sender.clone());
        let begun = self.ports.workers.read(move || {
            let entries = match reader.read(partition.to_u64(), from, to, bytes_max) {
                Ok(entries) => entries
                    .into_iter()
                    .map(|read| Entry {
                        epoch: Epoch(read.epoch),
                        index: read.index,
                        data: read.data,
                    })
                    .collect(),
                Err(error) => {
                    tracing::warn!(%partition, from, %error, "the journal could not be read");
                    Vec::new()
                }
            };
            sender.send_blocking(Event::LogRead {
                partition,
                from,
                entries,
            });
        });
        if !begun {
            // The replica asks again a moment after an empty answer.
            let entries = Vec::new();
            self.feed(partition, Input::LogRead { from, entries });
        }
    }

    fn role_changed(&mut self, partition: PartitionId, role: Role, epoch: Epoch, serving: bool) {
        self.ports.progress.role(partition, role, epoch, serving);
        self.end_copies_of(partition, role);
        if matches!(role, Role::Primary) {
            let phase = if serving { "serving" } else { "promoted" };
            let detail = serde_json::json!({ "epoch": epoch.0 });
            self.ports.timeline.publish(phase, Some(partition), detail);
        }
        if serving {
            self.wake_parked(partition);
        }
    }

    pub(super) fn halted(&mut self, partition: PartitionId, invariant: String) {
        tracing::error!(%partition, %invariant, "this replica stops");
        let detail = serde_json::json!({ "invariant": invariant });
        self.ports
            .timeline
            .publish("replica_stopped", Some(partition), detail);
        self.ports.progress.stopped(partition, &invariant);
        if let Some(hosted) = self.replicas.get_mut(&partition) {
            hosted.stopped = Some(invariant);
        }
        self.fail_at_core(partition, Failure::Stopped);
    }

    /// Whether this node has a replica of the partition that works and has room.
    pub(super) fn takes_part(&self, partition: PartitionId) -> bool {
        let hosted = self.replicas.get(&partition);
        hosted.is_some_and(|hosted| hosted.stopped.is_none()) && self.follows(partition)
    }

    /// Reads a row from the engine of this node.
    pub(super) fn row(
        &mut self,
        partition: PartitionId,
        key: &[u8],
    ) -> Result<Option<Bytes>, Failure> {
        let row = self.ports.engine.get(partition.to_u64(), key);
        row.map_err(|error| {
            self.met(partition, &error, "a row could not be read");
            Failure::Stopped
        })
    }

    /// The storage ids of the replicas of a partition.
    pub(super) fn replicas_of(&self, partition: PartitionId) -> Vec<StorageId> {
        self.ports
            .map
            .assignment(partition)
            .map_or_else(Vec::new, |a| a.replicas.clone())
    }
}
