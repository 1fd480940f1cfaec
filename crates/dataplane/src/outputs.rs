//! Carrying out what a replica asks for.

use bytes::Bytes;
use tablestore_placement::{Command, Epoch, PartitionId, StorageId};
use tablestore_replication::{
    Entry, Input, Output, PartitionMeta, PersistRecord, ReadRefused, Role, WriteRefused, Written,
};
use tablestore_store::{Engine, Meta};

use crate::effects::{Notice, Proposal};
use crate::job::Work;
use crate::journal::Record;
use crate::plane::Plane;
use crate::request::{Answer, Failure, Reply};
use crate::wire::DataMessage;

/// Read rounds that want a linearizable read of the map, and whether one is under way.
#[derive(Debug, Default)]
pub(crate) struct MapReads {
    wanted: Vec<(PartitionId, u64)>,
    under_way: bool,
}

impl MapReads {
    pub(crate) fn ended(&mut self) {
        self.under_way = false;
    }
}

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

fn journal_record(partition: PartitionId, record: PersistRecord) -> Record {
    let partition = partition.to_u64();
    match record {
        PersistRecord::Entry(Entry { epoch, index, data }) => Record::Entry {
            partition,
            epoch: epoch.0,
            index,
            data,
        },
        PersistRecord::Meta(meta) => Record::Meta {
            partition,
            meta: journal_meta(&meta),
        },
        PersistRecord::Restart(meta) => Record::Restart {
            partition,
            meta: journal_meta(&meta),
        },
    }
}

impl<E: Engine, W> Plane<E, W> {
    pub(crate) fn carry_out(&mut self, partition: PartitionId, output: Output) {
        match output {
            Output::Persist { token, record } => {
                self.persist(partition, token, journal_record(partition, record));
            }
            Output::Send { to, message } => {
                self.links
                    .tell(to, &DataMessage::Replication { partition, message });
            }
            Output::Apply { .. } | Output::ChecksumDue { .. } => unreachable!("done when fed"),
            Output::WriteDone { ticket, result } => self.write_done(partition, ticket.0, result),
            Output::ReadReady { ticket, epoch } => self.read_ready(ticket.0, epoch),
            Output::ReadRefused { ticket, why } => self.read_refused(partition, ticket.0, why),
            Output::ConfirmByMap { round } => self.map_reads.wanted.push((partition, round)),
            Output::Propose {
                epoch,
                version,
                in_sync,
                joiner,
            } => {
                let command = Command::ProposeInSync {
                    partition,
                    epoch,
                    version,
                    office: self.me,
                    in_sync,
                    joiner: joiner.map(|start| (start.member, start.incarnation)),
                    at_ms: self.now.wall_ms,
                };
                self.out.proposals.push(Proposal {
                    partition,
                    version,
                    command,
                });
            }
            Output::ReadLog {
                from,
                to,
                bytes_max,
            } => self.read_log(partition, from, to, bytes_max),
            Output::SendSnapshot { to, epoch } => self.send_snapshot(partition, to, epoch),
            Output::InstallSnapshot { from: _, meta } => self.install_snapshot(partition, meta),
            Output::DropSnapshot { from: _ } => self.transfers.drop_offered(),
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
                self.counts.writes += 1;
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
    pub(crate) fn epoch_of(&self, partition: PartitionId) -> Epoch {
        self.map
            .assignment(partition)
            .map_or(Epoch(0), |assignment| assignment.epoch)
    }

    /// One linearizable read of the map for all rounds that wait for one.
    pub(crate) fn ask_for_map(&mut self) {
        if self.map_reads.under_way || self.map_reads.wanted.is_empty() {
            return;
        }
        self.map_reads.under_way = true;
        self.out.map_read = Some(std::mem::take(&mut self.map_reads.wanted));
    }

    fn read_log(&mut self, partition: PartitionId, from: u64, to: u64, bytes_max: usize) {
        if let Some(life) = self.life_of(partition) {
            self.begin(Work::ReadLog {
                partition,
                life,
                from,
                to,
                bytes_max,
            });
        }
    }

    fn role_changed(&mut self, partition: PartitionId, role: Role, epoch: Epoch, serving: bool) {
        self.show(partition, |shown| shown.epoch = epoch);
        self.end_copies_of(partition, role);
        if role == Role::Primary {
            self.out.notices.push(if serving {
                Notice::Serving { partition, epoch }
            } else {
                Notice::Promoted { partition, epoch }
            });
        }
        if serving {
            self.requests.retry_parked_of(partition);
        }
    }

    /// Entries were read back from the journal. A replica whose log is damaged stops: in office it
    /// would wait for ever for what nobody can read.
    pub(crate) fn log_read(
        &mut self,
        partition: PartitionId,
        life: u64,
        from: u64,
        entries: Result<Vec<Entry>, String>,
    ) {
        if !self.lives(partition, life) {
            return;
        }
        match entries {
            Ok(entries) => self.feed(partition, Input::LogRead { from, entries }),
            Err(damaged) => self.halted(partition, damaged),
        }
    }

    pub(crate) fn halted(&mut self, partition: PartitionId, invariant: String) {
        tracing::error!(%partition, %invariant, "this replica stops");
        self.out.notices.push(Notice::ReplicaStopped {
            partition,
            why: invariant.clone(),
        });
        self.show(partition, |shown| shown.stopped = Some(invariant.clone()));
        if let Some(hosted) = self.replicas.get_mut(&partition) {
            hosted.stopped = Some(invariant);
        }
        self.fail_at_core(partition, Failure::Stopped);
    }

    /// Whether this node has a replica of the partition that works and has room.
    pub(crate) fn takes_part(&self, partition: PartitionId) -> bool {
        let hosted = self.replicas.get(&partition);
        hosted.is_some_and(|hosted| hosted.stopped.is_none()) && self.follows(partition)
    }

    /// Reads a row from the engine of this node.
    pub(crate) fn row(
        &mut self,
        partition: PartitionId,
        key: &[u8],
    ) -> Result<Option<Bytes>, Failure> {
        let row = self.engine.get(partition.to_u64(), key);
        row.map_err(|error| {
            self.met(partition, &error, "a row could not be read");
            Failure::Stopped
        })
    }

    /// The storage ids of the replicas of a partition.
    pub(crate) fn replicas_of(&self, partition: PartitionId) -> Vec<StorageId> {
        self.map
            .assignment(partition)
            .map_or_else(Vec::new, |a| a.replicas.clone())
    }
}
