//! A process that appends, applies and checkpoints is killed again and again; what it had
//! acknowledged is there every time.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use bytes::Bytes;
use tablestore_store::engine::{
    Checkpoints as _, Engine, LsmEngine, LsmSettings, ReadRows as _, RowWrite, Scan,
};
use tablestore_store::journal::{Journal, JournalReader, JournalSettings, JournalWriter};

/// Set for the process that is to be killed.
const DIRECTORY: &str = "STORE_KILL_TEST_DIRECTORY";
const PARTITIONS: u64 = 3;
const ROUNDS: u64 = 15;

fn settings() -> JournalSettings {
    JournalSettings {
        segment_bytes: 128 * 1024,
        segments_max: 3,
        journal_id: 5,
    }
}

fn data(partition: u64, index: u64) -> Vec<u8> {
    format!("{partition}/{index};")
        .into_bytes()
        .repeat((index % 60) as usize + 1)
}

fn key(index: u64) -> Vec<u8> {
    format!("key-{}", index % 40).into_bytes()
}

fn open(directory: &Path) -> (JournalWriter, JournalReader, LsmEngine) {
    let (writer, reader) =
        Journal::open(directory.join("journal"), &settings(), &mut |_| ()).unwrap();
    let engine = LsmEngine::open(directory.join("rows"), &LsmSettings::default()).unwrap();
    for partition in 0..PARTITIONS {
        engine.open_partition(partition).unwrap();
    }
    (writer, reader, engine)
}

/// The rows are those of the first `index` entries: state and applied index belong together.
fn check_rows(engine: &LsmEngine, partition: u64, index: u64) {
    let expected: BTreeMap<Bytes, Bytes> = (1..=index)
        .map(|at| (key(at).into(), data(partition, at).into()))
        .collect();
    let rows = engine
        .scan(partition, &Scan::all(usize::MAX, usize::MAX))
        .unwrap()
        .rows;
    assert_eq!(
        rows,
        expected.into_iter().collect::<Vec<_>>(),
        "rows of index {index}"
    );
    let side = engine.side_records(partition).unwrap();
    let stored = side.first().map_or(0, |(_, value)| {
        u64::from_le_bytes((&value[..]).try_into().unwrap())
    });
    assert!(
        stored <= index,
        "the side record is of index {stored}, the rows of {index}"
    );
}

/// Applies what the engine has not yet; answers the end of the log.
fn replay(reader: &JournalReader, engine: &LsmEngine, partition: u64) -> u64 {
    let Some(end) = reader.end(partition) else {
        return 0;
    };
    let mut from = engine.applied(partition) + 1;
    while from <= end {
        for entry in reader.read(partition, from, end, 100_000).unwrap() {
            assert_eq!(entry.data, data(partition, entry.index));
            apply(engine, partition, entry.index);
            from = entry.index + 1;
        }
    }
    end
}

fn apply(engine: &LsmEngine, partition: u64, index: u64) {
    let (key, value) = (key(index), data(partition, index));
    engine
        .apply(
            partition,
            index,
            &[RowWrite {
                key: &key,
                value: Some(&value),
            }],
        )
        .unwrap();
}

/// Not a test by itself: the process that is killed by the other one.
#[test]
fn append_until_killed() {
    let Ok(directory) = std::env::var(DIRECTORY) else {
        return;
    };
    let (mut writer, reader, engine) = open(Path::new(&directory));
    let mut ends: Vec<u64> = (0..PARTITIONS)
        .map(|partition| replay(&reader, &engine, partition))
        .collect();
    let engine = Arc::new(engine);
    let background = Arc::clone(&engine);
    std::thread::spawn(move || {
        loop {
            for partition in 0..PARTITIONS {
                let applied = background.applied(partition).to_le_bytes();
                let side = RowWrite {
                    key: b"applied",
                    value: Some(&applied),
                };
                background.checkpoint(partition, &[side]).unwrap();
                background.maintain(partition).unwrap();
            }
        }
    });
    let mut out = std::io::stdout().lock();
    loop {
        for (partition, end) in (0..).zip(&mut ends) {
            for _ in 0..=partition {
                *end += 1;
                writer.push_entry(partition, 1, *end, &data(partition, *end));
            }
        }
        writer.commit().unwrap();
        for (partition, end) in (0..).zip(&ends) {
            for index in engine.applied(partition) + 1..=*end {
                apply(&engine, partition, index);
            }
        }
        writeln!(out, "acknowledged {} {} {}", ends[0], ends[1], ends[2]).unwrap();
        out.flush().unwrap();
        writer.recycle(|partition| Some(engine.checkpointed(partition)));
    }
}

#[test]
fn l05_l06_a_killed_process_loses_nothing_it_acknowledged() {
    let home = tempfile::tempdir().unwrap();
    let mut acknowledged = vec![0; PARTITIONS as usize];
    let mut recycled = 0;
    for round in 0..ROUNDS {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "append_until_killed", "--nocapture"])
            .env(DIRECTORY, home.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let enough = 20 + round * 137 % 300;
        let mut seen = 0;
        for line in lines {
            let line = line.unwrap();
            // The harness does not end its own line before.
            let Some((_, ends)) = line.split_once("acknowledged ") else {
                continue;
            };
            acknowledged = ends
                .split(' ')
                .map(|end| end.parse::<u64>().unwrap())
                .collect();
            seen += 1;
            if seen == enough {
                child.kill().unwrap();
            }
        }
        child.wait().unwrap();
        assert!(seen >= enough, "the process ended by itself after {seen}");
        let (_writer, reader, engine) = open(home.path());
        for (partition, acknowledged) in (0..).zip(&acknowledged) {
            let end = reader.end(partition).unwrap();
            assert!(end >= *acknowledged, "{end} is less than {acknowledged}");
            let (applied, first) = (engine.applied(partition), reader.first_index(partition));
            assert!(
                first.unwrap() <= applied + 1,
                "nothing unapplied was dropped"
            );
            recycled = recycled.max(first.unwrap() - 1);
            check_rows(&engine, partition, applied);
            assert_eq!(replay(&reader, &engine, partition), end);
            check_rows(&engine, partition, end);
        }
    }
    assert!(recycled > 0, "segments were recycled");
}
