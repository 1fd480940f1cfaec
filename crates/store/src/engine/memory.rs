//! An engine in memory: the oracle for the others, and the engine of simulations. What it
//! calls a checkpoint is a copy. Knows nothing of files.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use super::{
    Checkpoints, Copies, Engine, EngineError, Page, ReadRows, Replacement, RowWrite, Rows, Scan,
    Snapshot, check_row_key, is_empty_range, page,
};

#[derive(Clone, Debug, Default)]
struct Content {
    rows: BTreeMap<Bytes, Bytes>,
    side: BTreeMap<Bytes, Bytes>,
    applied: u64,
}

#[derive(Clone, Debug, Default)]
struct Partition {
    live: Content,
    durable: Content,
    unsaved_bytes: u64,
    sealed: Option<Content>,
}

type Partitions = BTreeMap<u64, Partition>;

/// Rows in ordered maps.
#[derive(Debug, Default)]
pub struct MemoryEngine {
    partitions: Arc<Mutex<Partitions>>,
}

impl MemoryEngine {
    /// An engine without partitions.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// What is left after a crash: every partition as it was at its last checkpoint.
    #[must_use]
    pub fn after_crash(&self) -> Self {
        let mut partitions = self.lock().clone();
        for partition in partitions.values_mut() {
            partition.live = partition.durable.clone();
            partition.sealed = None;
            partition.unsaved_bytes = 0;
        }
        Self {
            partitions: Arc::new(Mutex::new(partitions)),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Partitions> {
        self.partitions
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn with<T>(
        &self,
        partition: u64,
        action: impl FnOnce(&mut Partition) -> Result<T, EngineError>,
    ) -> Result<T, EngineError> {
        match self.lock().get_mut(&partition) {
            Some(found) => action(found),
            None => Err(EngineError::NoPartition { partition }),
        }
    }
}

impl Engine for MemoryEngine {
    fn open_partition(&self, partition: u64) -> Result<(), EngineError> {
        self.lock().entry(partition).or_default();
        Ok(())
    }

    fn apply(
        &self,
        partition: u64,
        index: u64,
        writes: &[RowWrite<'_>],
    ) -> Result<(), EngineError> {
        for write in writes {
            check_row_key(write.key)?;
        }
        self.with(partition, |found| {
            let applied = found.live.applied;
            if index <= applied {
                return Err(EngineError::Index { index, applied });
            }
            found.live.applied = index;
            found.unsaved_bytes += write_all(&mut found.live.rows, writes);
            Ok(())
        })
    }

    fn drop_partition(&self, partition: u64) -> Result<(), EngineError> {
        self.lock().remove(&partition);
        Ok(())
    }
}

impl ReadRows for MemoryEngine {
    fn partitions(&self) -> Vec<u64> {
        self.lock().keys().copied().collect()
    }

    fn get(&self, partition: u64, key: &[u8]) -> Result<Option<Bytes>, EngineError> {
        self.with(partition, |found| Ok(found.live.rows.get(key).cloned()))
    }

    fn scan(&self, partition: u64, scan: &Scan) -> Result<Page, EngineError> {
        self.with(partition, |found| Ok(found.live.scan(scan)))
    }

    fn side_records(&self, partition: u64) -> Result<Rows, EngineError> {
        self.with(partition, |found| Ok(found.live.side_records()))
    }

    fn applied(&self, partition: u64) -> u64 {
        self.lock()
            .get(&partition)
            .map_or(0, |found| found.live.applied)
    }

    fn checkpointed(&self, partition: u64) -> u64 {
        self.lock()
            .get(&partition)
            .map_or(0, |found| found.durable.applied)
    }
}

impl Checkpoints for MemoryEngine {
    fn put_side(&self, partition: u64, side: &[RowWrite<'_>]) -> Result<(), EngineError> {
        self.with(partition, |found| {
            found.unsaved_bytes += write_all(&mut found.live.side, side);
            Ok(())
        })
    }

    fn seal(&self, partition: u64, side: &[RowWrite<'_>]) -> Result<(), EngineError> {
        self.put_side(partition, side)?;
        self.with(partition, |found| {
            found.sealed = Some(found.live.clone());
            Ok(())
        })
    }

    fn flush(&self, partition: u64) -> Result<u64, EngineError> {
        self.with(partition, |found| {
            if let Some(sealed) = found.sealed.take() {
                found.durable = sealed;
                found.unsaved_bytes = 0;
            }
            Ok(found.durable.applied)
        })
    }

    fn maintain(&self, partition: u64) -> Result<bool, EngineError> {
        self.with(partition, |_| Ok(false))
    }

    fn memory_bytes_of(&self, partition: u64) -> u64 {
        self.lock()
            .get(&partition)
            .map_or(0, |found| found.unsaved_bytes)
    }

    fn disk_bytes_of(&self, _partition: u64) -> u64 {
        0
    }
}

impl Copies for MemoryEngine {
    fn snapshot(&self, partition: u64) -> Result<Box<dyn Snapshot>, EngineError> {
        self.with(partition, |found| {
            let snapshot: Box<dyn Snapshot> = Box::new(found.live.clone());
            Ok(snapshot)
        })
    }

    fn begin_replace(&self, partition: u64) -> Result<Box<dyn Replacement>, EngineError> {
        let partitions = Arc::clone(&self.partitions);
        Ok(Box::new(MemoryReplacement {
            partition,
            partitions,
            content: Content::default(),
        }))
    }
}

impl Content {
    fn scan(&self, scan: &Scan) -> Page {
        if is_empty_range(&scan.from, &scan.to) {
            return Page::default();
        }
        let bounds: (Bound<&Bytes>, Bound<&Bytes>) = (scan.from.as_ref(), scan.to.as_ref());
        let rows = self.rows.range::<Bytes, _>(bounds);
        let copy =
            |(key, value): (&Bytes, &Bytes)| Ok::<_, EngineError>((key.clone(), value.clone()));
        let page = if scan.reverse {
            page(rows.rev().map(copy), scan)
        } else {
            page(rows.map(copy), scan)
        };
        page.unwrap_or_default()
    }

    fn side_records(&self) -> Rows {
        self.side
            .iter()
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect()
    }
}

impl Snapshot for Content {
    fn index(&self) -> u64 {
        self.applied
    }

    fn scan(&self, scan: &Scan) -> Result<Page, EngineError> {
        Ok(Self::scan(self, scan))
    }

    fn side_records(&self) -> Result<Rows, EngineError> {
        Ok(Self::side_records(self))
    }
}

#[derive(Debug)]
struct MemoryReplacement {
    partition: u64,
    partitions: Arc<Mutex<Partitions>>,
    content: Content,
}

impl Replacement for MemoryReplacement {
    fn put(&mut self, rows: &[RowWrite<'_>]) -> Result<(), EngineError> {
        for row in rows {
            check_row_key(row.key)?;
        }
        write_all(&mut self.content.rows, rows);
        Ok(())
    }

    fn put_side(&mut self, side: &[RowWrite<'_>]) -> Result<(), EngineError> {
        write_all(&mut self.content.side, side);
        Ok(())
    }

    fn finish(mut self: Box<Self>, index: u64) -> Result<(), EngineError> {
        self.content.applied = index;
        let content = self.content;
        let replaced = Partition {
            live: content.clone(),
            durable: content,
            unsaved_bytes: 0,
            sealed: None,
        };
        let mut partitions = self
            .partitions
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        partitions.insert(self.partition, replaced);
        Ok(())
    }
}

/// Writes into a map and answers how many bytes went in.
fn write_all(map: &mut BTreeMap<Bytes, Bytes>, writes: &[RowWrite<'_>]) -> u64 {
    let mut bytes = 0;
    for write in writes {
        let key = Bytes::copy_from_slice(write.key);
        bytes += key.len() as u64;
        match write.value {
            Some(value) => {
                bytes += value.len() as u64;
                map.insert(key, Bytes::copy_from_slice(value));
            }
            None => {
                map.remove(&key);
            }
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conforms() {
        let mut memory = Arc::new(MemoryEngine::new());
        crate::testing::engine_suite(&mut |crash| {
            if crash {
                memory = Arc::new(memory.after_crash());
            } else {
                memory = Arc::new(MemoryEngine::new());
            }
            Arc::clone(&memory) as Arc<dyn Engine>
        });
    }
}
