//! Snapshots on their way from a primary to a replica that lost touch with the log.
//!
//! The sender streams rows and side records in chunks with a small window; the receiver builds
//! them aside and switches them in only when its replica says so. One thread per transfer, a
//! few at a time. Knows nothing of when a snapshot is needed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use bytes::Bytes;
use tablestore_placement::{Epoch, Office, PartitionId, StorageId};
use tablestore_replication::{EpochStartsAt, Input, SnapshotMeta};
use tablestore_store::engine::{EngineError, Replacement, Scan, Snapshot};
use tablestore_store::{Engine, RowWrite};

use super::apply::decode_remembered;
use super::event::{Event, EventSender};
use super::plane::Plane;
use crate::wire::DataMessage;

/// Bytes of rows in one chunk.
const CHUNK_BYTES: usize = 256 << 10;
/// Rows in one chunk.
const CHUNK_ROWS: usize = 4_096;
/// Chunks on the way before the first must be acknowledged.
const WINDOW_CHUNKS: usize = 4;
/// A receiver silent for this long is given up.
const ACK_WITHIN: Duration = Duration::from_secs(10);
/// Transfers that one node sends at once; copying yields to requests.
const SENDING_MAX: usize = 2;
/// Marks side records among the rows of a transfer: row keys never begin with it.
const SIDE_MARK: u8 = 0x00;

type Pairs = Vec<(Bytes, Bytes)>;

#[derive(Debug)]
struct Outgoing {
    acks: mpsc::Sender<bool>,
}

#[derive(Debug)]
struct Incoming {
    transfer: u64,
    from: Office,
    epoch: Epoch,
    meta: SnapshotMeta,
    chunks: Option<mpsc::SyncSender<(bool, Pairs)>>,
    aside: Arc<std::sync::Mutex<Option<Box<dyn Replacement>>>>,
}

/// All transfers of this node.
#[derive(Debug, Default)]
pub(crate) struct Transfers {
    next: u64,
    outgoing: BTreeMap<(PartitionId, u64), Outgoing>,
    incoming: BTreeMap<PartitionId, Incoming>,
}

impl Transfers {
    pub(super) fn acked(&mut self, partition: PartitionId, transfer: u64, ok: bool) {
        if let Some(outgoing) = self.outgoing.get(&(partition, transfer)) {
            let _ = outgoing.acks.send(ok);
        }
    }

    pub(super) fn chunk(
        &mut self,
        partition: PartitionId,
        transfer: u64,
        last: bool,
        pairs: Pairs,
    ) {
        if let Some(incoming) = self.incoming.get_mut(&partition)
            && incoming.transfer == transfer
            && let Some(chunks) = &incoming.chunks
            && chunks.try_send((last, pairs)).is_err()
        {
            // Beyond the window: the sender is broken or the writing thread has failed.
            incoming.chunks = None;
        }
    }

    pub(super) fn drop_incoming(&mut self, partition: PartitionId) {
        self.incoming.remove(&partition);
    }
}

impl Plane {
    pub(super) fn send_snapshot(
        &mut self,
        partition: PartitionId,
        to: StorageId,
        epoch: Epoch,
        history: Vec<EpochStartsAt>,
    ) {
        let number = partition.to_u64();
        let snapshot = match self.ports.engine.snapshot(number) {
            Ok(snapshot) if self.ports.transfers.outgoing.len() < SENDING_MAX => snapshot,
            _ => {
                return self.feed_later(Event::SnapshotSent {
                    partition,
                    to,
                    index: None,
                });
            }
        };
        let Some(hosted) = self.replicas.get(&partition) else {
            return;
        };
        // Results that are not flushed yet travel as one more side record.
        let results: Vec<_> = hosted
            .replica
            .remembered_after(hosted.remembered_until)
            .collect();
        let name = super::apply::remembered_name(results.last().map_or(0, |last| last.index));
        let value = super::apply::encode_remembered(&results);
        let index = snapshot.index().max(hosted.replica.status().applied);
        let of_entry = history.iter().rev().find(|start| start.index <= index);
        let meta = SnapshotMeta {
            index,
            epoch: of_entry.map_or(Epoch(0), |start| start.epoch),
            history: history
                .iter()
                .copied()
                .filter(|start| start.index <= index)
                .collect(),
        };
        let transfer = self.ports.transfers.next + 1;
        self.ports.transfers.next = transfer;
        let (acks, acked) = mpsc::channel();
        self.ports
            .transfers
            .outgoing
            .insert((partition, transfer), Outgoing { acks });
        let sender = self.ports.sender.clone();
        let begin = DataMessage::SnapshotBegin {
            partition,
            transfer,
            epoch,
            meta,
        };
        self.ports.links.tell(to, &begin);
        let job = Sending {
            partition,
            transfer,
            to,
            sender: sender.clone(),
            acked,
        };
        let spawned = std::thread::Builder::new()
            .name("snapshot".to_owned())
            .spawn(move || {
                let sent = job.run(snapshot.as_ref(), &name, &value);
                let index = sent.then_some(index);
                sender.send_blocking(Event::SnapshotSent {
                    partition,
                    to,
                    index,
                });
            });
        if spawned.is_err() {
            self.feed_later(Event::SnapshotSent {
                partition,
                to,
                index: None,
            });
        }
    }

    fn feed_later(&self, event: Event) {
        let sender = self.ports.sender.clone();
        tokio::spawn(async move { sender.send(event).await });
    }

    pub(super) fn snapshot_sent(
        &mut self,
        partition: PartitionId,
        to: StorageId,
        index: Option<u64>,
    ) {
        self.ports
            .transfers
            .outgoing
            .retain(|(of, _), _| *of != partition);
        let input = match index {
            Some(index) => Input::SnapshotDelivered { to, index },
            None => Input::SnapshotFailed { to },
        };
        self.feed(partition, input);
    }

    pub(super) fn snapshot_begins(
        &mut self,
        from: Office,
        partition: PartitionId,
        transfer: u64,
        epoch: Epoch,
        meta: SnapshotMeta,
    ) {
        if !self.takes_part(partition) {
            return;
        }
        let (chunks, to_write) = mpsc::sync_channel(WINDOW_CHUNKS + 1);
        let aside = Arc::new(std::sync::Mutex::new(None));
        let (engine, slot) = (Arc::clone(&self.ports.engine), Arc::clone(&aside));
        let sender = self.ports.sender.clone();
        let incoming = Incoming {
            transfer,
            from,
            epoch,
            meta,
            chunks: Some(chunks),
            aside,
        };
        self.ports.transfers.incoming.insert(partition, incoming);
        let to = from.member;
        let spawned = std::thread::Builder::new()
            .name("snapshot".to_owned())
            .spawn(move || {
                let tell = |ok| {
                    let message = DataMessage::SnapshotAck {
                        partition,
                        transfer,
                        ok,
                    };
                    sender.send_blocking(Event::Tell { to, message });
                };
                match receive(engine.as_ref(), partition.to_u64(), &to_write, &tell) {
                    Ok(Some(replacement)) => {
                        *slot
                            .lock()
                            .unwrap_or_else(std::sync::PoisonError::into_inner) = Some(replacement);
                        sender.send_blocking(Event::SnapshotAside {
                            partition,
                            transfer,
                        });
                    }
                    Ok(None) => {}
                    Err(error) => {
                        tracing::warn!(%partition, %error, "a snapshot could not be taken in");
                        tell(false);
                    }
                }
            });
        if spawned.is_err() {
            self.ports.transfers.drop_incoming(partition);
        }
    }

    pub(super) fn snapshot_aside(&mut self, partition: PartitionId, transfer: u64) {
        let Some(incoming) = self.ports.transfers.incoming.get(&partition) else {
            return;
        };
        if incoming.transfer == transfer {
            let (from, epoch, meta) = (incoming.from, incoming.epoch, incoming.meta.clone());
            self.feed(partition, Input::SnapshotOffered { from, epoch, meta });
        }
    }

    pub(super) fn install_snapshot(&mut self, partition: PartitionId, meta: SnapshotMeta) {
        let Some(incoming) = self.ports.transfers.incoming.remove(&partition) else {
            return;
        };
        let replacement = incoming
            .aside
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .take();
        let Some(replacement) = replacement else {
            return;
        };
        let sender = self.ports.sender.clone();
        self.ports.workers.upkeep(move || {
            let meta = match replacement.finish(meta.index) {
                Ok(()) => Some(meta),
                Err(error) => {
                    tracing::error!(%partition, %error, "a snapshot could not be switched in");
                    None
                }
            };
            sender.send_blocking(Event::SnapshotInstalled { partition, meta });
        });
    }

    pub(super) fn snapshot_installed(
        &mut self,
        partition: PartitionId,
        meta: Option<SnapshotMeta>,
    ) {
        let Some(meta) = meta else {
            return self.halted(partition, "a snapshot could not be switched in".to_owned());
        };
        let records = self
            .ports
            .engine
            .side_records(partition.to_u64())
            .unwrap_or_default();
        let remembered = decode_remembered(&records, meta.index);
        if let Some(hosted) = self.replicas.get_mut(&partition) {
            hosted.remembered_until = meta.index;
        }
        self.feed(partition, Input::SnapshotInstalled { meta, remembered });
    }
}

/// One transfer, on the sender's thread.
struct Sending {
    partition: PartitionId,
    transfer: u64,
    to: StorageId,
    sender: EventSender,
    acked: mpsc::Receiver<bool>,
}

impl Sending {
    fn run(&self, snapshot: &dyn Snapshot, name: &[u8], value: &[u8]) -> bool {
        let mut on_the_way = 0;
        let mut side: Pairs = match snapshot.side_records() {
            Ok(records) => records,
            Err(_) => return false,
        };
        if !value.is_empty() {
            side.push((Bytes::copy_from_slice(name), Bytes::copy_from_slice(value)));
        }
        let side: Pairs = side
            .into_iter()
            .map(|(key, value)| (marked(&key), value))
            .collect();
        if !self.chunk(side, false, &mut on_the_way) {
            return false;
        }
        let mut scan = Scan::all(CHUNK_ROWS, CHUNK_BYTES);
        loop {
            let Ok(page) = snapshot.scan(&scan) else {
                return false;
            };
            if let Some((key, _)) = page.rows.last() {
                scan.from = std::ops::Bound::Excluded(key.clone());
            }
            if !self.chunk(page.rows, !page.more, &mut on_the_way) {
                return false;
            }
            if !page.more {
                break;
            }
        }
        while on_the_way > 0 {
            if !self.wait(&mut on_the_way) {
                return false;
            }
        }
        true
    }

    fn chunk(&self, pairs: Pairs, last: bool, on_the_way: &mut usize) -> bool {
        while *on_the_way >= WINDOW_CHUNKS {
            if !self.wait(on_the_way) {
                return false;
            }
        }
        let Self {
            partition,
            transfer,
            ..
        } = *self;
        let message = DataMessage::SnapshotChunk {
            partition,
            transfer,
            last,
            pairs,
        };
        self.sender.send_blocking(Event::Tell {
            to: self.to,
            message,
        });
        *on_the_way += 1;
        true
    }

    fn wait(&self, on_the_way: &mut usize) -> bool {
        let ok = matches!(self.acked.recv_timeout(ACK_WITHIN), Ok(true));
        *on_the_way -= 1;
        ok
    }
}

fn marked(key: &[u8]) -> Bytes {
    let mut marked = Vec::with_capacity(key.len() + 1);
    marked.push(SIDE_MARK);
    marked.extend_from_slice(key);
    marked.into()
}

/// Writes chunks aside until the last. `None` when the transfer was dropped.
fn receive(
    engine: &dyn Engine,
    partition: u64,
    chunks: &mpsc::Receiver<(bool, Pairs)>,
    tell: &dyn Fn(bool),
) -> Result<Option<Box<dyn Replacement>>, EngineError> {
    let mut replacement = engine.begin_replace(partition)?;
    while let Ok((last, pairs)) = chunks.recv() {
        for (key, value) in &pairs {
            let value = Some(value.as_ref());
            match key.split_first() {
                Some((&SIDE_MARK, name)) => {
                    replacement.put_side(&[RowWrite { key: name, value }])?;
                }
                _ => replacement.put(&[RowWrite { key, value }])?,
            }
        }
        tell(true);
        if last {
            return Ok(Some(replacement));
        }
    }
    Ok(None)
}
