//! How many operations a second the journal alone, and journal and rows together, sustain:
//! virtual writers in a closed loop, one thread that commits and one that applies.
//!
//! `cargo run --release -p tablestore-store --example journal_bench [directory] [seconds]`

#![expect(
    clippy::print_stdout,
    reason = "the output of an example is for people"
)]
#![expect(clippy::unwrap_used, reason = "an example may end by panicking")]

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use tablestore_store::engine::{Checkpoints as _, Engine, LsmEngine, LsmSettings, ReadRows as _};
use tablestore_store::item::{KeyValue, json, key};
use tablestore_store::journal::{Journal, JournalSettings, JournalWriter};
use tablestore_store::mutation::{Condition, Mutation, apply_mutations};

const PARTITIONS: u64 = 64;
/// When the largest partition is checkpointed.
const MEMORY_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Operations on their way from one thread to the other.
#[derive(Default)]
struct Queue {
    waiting: Mutex<Vec<Operation>>,
    filled: Condvar,
}

struct Operation {
    partition: u64,
    index: u64,
    payload: Vec<u8>,
    begun: Instant,
}

impl Queue {
    fn push_all(&self, operations: &mut Vec<Operation>) {
        self.waiting.lock().unwrap().append(operations);
        self.filled.notify_one();
    }

    /// Everything that waits, once something does; empty when stopped.
    fn take(&self, stop: &AtomicBool) -> Vec<Operation> {
        let mut waiting = self.waiting.lock().unwrap();
        while waiting.is_empty() && !stop.load(Ordering::Acquire) {
            waiting = self
                .filled
                .wait_timeout(waiting, Duration::from_millis(50))
                .unwrap()
                .0;
        }
        std::mem::take(&mut waiting)
    }
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let home = arguments
        .next()
        .map_or_else(std::env::temp_dir, PathBuf::from);
    let seconds = arguments.next().map_or(2.0, |text| text.parse().unwrap());
    open_many(&home);
    println!("mode           writers   ops/s     p50 ms  p99 ms  ops/commit  rolls (waited)");
    for rows in [false, true] {
        for writers in [64, 256] {
            let directory = home.join(format!("journal-bench-{}", std::process::id()));
            run(&directory, writers, rows, Duration::from_secs_f64(seconds));
            std::fs::remove_dir_all(&directory).unwrap();
        }
    }
}

/// What it costs a node to have many partitions and do nothing.
fn open_many(home: &std::path::Path) {
    let directory = home.join(format!("journal-bench-open-{}", std::process::id()));
    for what in ["made", "opened again"] {
        let started = Instant::now();
        let journal = directory.join("journal");
        let _journal = Journal::open(journal, &JournalSettings::default(), &mut |_| ()).unwrap();
        let engine = LsmEngine::open(directory.join("rows"), &LsmSettings::default()).unwrap();
        for partition in 0..PARTITIONS {
            engine.open_partition(partition).unwrap();
        }
        let took = started.elapsed().as_secs_f64() * 1000.0;
        println!(
            "{PARTITIONS} partitions {what} in {took:.0} ms, {} KiB resident",
            resident_kib()
        );
        for partition in 0..PARTITIONS {
            engine
                .apply(partition, engine.applied(partition) + 1, &[])
                .unwrap();
            engine.checkpoint(partition, &[]).unwrap();
        }
    }
    std::fs::remove_dir_all(&directory).unwrap();
}

fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|text| text.trim().split(' ').next()?.parse().ok())
        .unwrap_or(0)
}

fn run(directory: &std::path::Path, writers: usize, rows: bool, time: Duration) {
    let (writer, _) = Journal::open(
        directory.join("journal"),
        &JournalSettings::default(),
        &mut |_| (),
    )
    .unwrap();
    let engine = LsmEngine::open(directory.join("rows"), &LsmSettings::default()).unwrap();
    for partition in 0..PARTITIONS {
        engine.open_partition(partition).unwrap();
    }
    let engine = Arc::new(engine);
    let (requests, replies) = (Arc::new(Queue::default()), Arc::new(Queue::default()));
    let stop = Arc::new(AtomicBool::new(false));
    let committing = {
        let (requests, replies) = (Arc::clone(&requests), Arc::clone(&replies));
        let (stop, engine) = (Arc::clone(&stop), Arc::clone(&engine));
        std::thread::spawn(move || commit(writer, &requests, &replies, &stop, &engine, rows))
    };
    let flushing = {
        let (stop, engine) = (Arc::clone(&stop), Arc::clone(&engine));
        std::thread::spawn(move || flush(&engine, &stop))
    };
    let latencies = drive(&engine, writers, rows, time, &requests, &replies);
    stop.store(true, Ordering::Release);
    let stats = committing.join().unwrap();
    flushing.join().unwrap();
    let at = |share: f64| latencies[((latencies.len() - 1) as f64 * share) as usize];
    println!(
        "{:14} {:7} {:7.0}k {:10.3} {:7.3} {:11.1} {:6} ({})",
        if rows { "journal + rows" } else { "journal" },
        writers,
        latencies.len() as f64 / time.as_secs_f64() / 1000.0,
        at(0.5).as_secs_f64() * 1000.0,
        at(0.99).as_secs_f64() * 1000.0,
        stats.records as f64 / stats.groups as f64,
        stats.rolls,
        stats.rolls_waited,
    );
}

/// The client and apply thread: every writer begins again when its operation is done.
fn drive(
    engine: &LsmEngine,
    writers: usize,
    rows: bool,
    time: Duration,
    requests: &Queue,
    replies: &Queue,
) -> Vec<Duration> {
    let stop = AtomicBool::new(false);
    let mut ends = vec![0; PARTITIONS as usize];
    let mut random = 0x9E37_79B9_7F4A_7C15u64;
    let started = Instant::now();
    let mut next = || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let partition = random % PARTITIONS;
        ends[partition as usize] += 1;
        let payload = payload(random);
        Operation {
            partition,
            index: ends[partition as usize],
            payload,
            begun: Instant::now(),
        }
    };
    let mut operations: Vec<_> = (0..writers).map(|_| next()).collect();
    let mut latencies = Vec::with_capacity(4_000_000);
    while started.elapsed() < time {
        requests.push_all(&mut operations);
        for operation in replies.take(&stop) {
            if rows {
                let entry = [(operation.index, &operation.payload[..])];
                apply_mutations(engine, operation.partition, &entry).unwrap();
            }
            latencies.push(operation.begun.elapsed());
            operations.push(next());
        }
    }
    latencies.sort_unstable();
    latencies
}

/// A put of a row of 116 bytes of JSON, under a key of 16 bytes.
fn payload(random: u64) -> Vec<u8> {
    let text = format!(
        concat!(
            r#"{{"name":"customer {:020}","city":"Rotterdam","orders":{},"#,
            r#""active":true,"score":{}.25}}"#
        ),
        random,
        random % 1000,
        random % 10_000_000
    );
    let key = key::encode_row_key(&KeyValue::String(format!("{random:016x}")), None);
    let item = json::parse_object(text.as_bytes()).unwrap();
    Mutation::Put {
        key,
        item,
        condition: Condition::None,
    }
    .encode()
}

fn commit(
    mut writer: JournalWriter,
    requests: &Queue,
    replies: &Queue,
    stop: &AtomicBool,
    engine: &LsmEngine,
    rows: bool,
) -> tablestore_store::journal::JournalStats {
    let mut rolls = 0;
    loop {
        let mut operations = requests.take(stop);
        if operations.is_empty() {
            return writer.stats();
        }
        for operation in &operations {
            writer.push_entry(operation.partition, 1, operation.index, &operation.payload);
        }
        writer.commit().unwrap();
        replies.push_all(&mut operations);
        if writer.stats().rolls > rolls {
            rolls = writer.stats().rolls;
            writer.recycle(|partition| {
                Some(if rows {
                    engine.checkpointed(partition)
                } else {
                    u64::MAX
                })
            });
        }
    }
}

/// The background thread: checkpoints the largest partition while there is too much in memory.
fn flush(engine: &LsmEngine, stop: &AtomicBool) {
    while !stop.load(Ordering::Acquire) {
        if engine.memory_bytes() < MEMORY_BYTES_MAX {
            std::thread::sleep(Duration::from_millis(20));
            continue;
        }
        let largest = (0..PARTITIONS).max_by_key(|partition| engine.memory_bytes_of(*partition));
        if let Some(partition) = largest {
            engine.checkpoint(partition, &[]).unwrap();
            engine.maintain(partition).unwrap();
        }
    }
}
