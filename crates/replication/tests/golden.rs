//! The bytes of every kind of message and of every kind of entry, against golden files.

use std::fmt::Write as _;

use bytes::{Bytes, BytesMut};
use tablestore_placement::Epoch;
use tablestore_replication::codec::{decode, encode};
use tablestore_replication::{Entry, EntryBody, EpochStartsAt, LogPoint, Message, RequestId};

/// Messages as they travel.
const MESSAGES: &str = include_str!("../testdata/messages-wire-2.txt");
/// Bodies of entries as they travel and lie in the journal.
const ENTRIES: &str = include_str!("../testdata/entries-journal-1.txt");

fn entries() -> Vec<(&'static str, Entry)> {
    let request = RequestId(u128::MAX - 5);
    vec![
        ("epoch start", Entry::epoch_start(Epoch(3), 301)),
        (
            "write",
            Entry::write(Epoch(3), 302, 0x0102_0304, request, 77, b"row"),
        ),
        ("checksum", Entry::checksum(Epoch(3), 303, 5)),
        ("time", Entry::time(Epoch(3), 304, 0x0102_0305)),
    ]
}

/// Fails to compile when there is another kind, which then belongs into [`entries`].
fn name_of_body(body: &EntryBody<'_>) -> &'static str {
    match body {
        EntryBody::EpochStart => "epoch start",
        EntryBody::Write { .. } => "write",
        EntryBody::Checksum { .. } => "checksum",
        EntryBody::Time { .. } => "time",
        EntryBody::Unknown => "unknown",
    }
}

fn messages() -> Vec<Message> {
    let epoch = Epoch(300);
    let history = vec![
        EpochStartsAt {
            epoch: Epoch(2),
            index: 1,
        },
        EpochStartsAt { epoch, index: 9 },
    ];
    let all: Vec<Entry> = entries().into_iter().map(|(_, entry)| entry).collect();
    vec![
        Message::Sync {
            epoch,
            nonce: 1,
            history,
            end: 304,
            commit: 300,
            first: 1 << 63,
            entries: all.clone(),
        },
        Message::Synced {
            epoch,
            nonce: 1,
            end: 304,
            commit: 300,
            needs_snapshot: true,
        },
        Message::Append {
            epoch,
            prev: LogPoint {
                epoch: Epoch(2),
                index: 300,
            },
            commit: 299,
            entries: all,
        },
        Message::Ack {
            epoch,
            end: 303,
            received: 304,
            commit: 127,
        },
        Message::Gap { epoch, end: 128 },
        Message::NoSession { epoch },
        Message::Commit {
            epoch,
            commit: u64::MAX,
        },
        Message::Confirm { epoch, round: 1 },
        Message::Confirmed { epoch, round: 1 },
        Message::Stale {
            epoch,
            refused: Epoch(299),
        },
    ]
}

/// Fails to compile when there is another kind, which then belongs into [`messages`].
fn name_of_message(message: &Message) -> &'static str {
    match message {
        Message::Sync { .. } => "sync",
        Message::Synced { .. } => "synced",
        Message::Append { .. } => "append",
        Message::Ack { .. } => "ack",
        Message::Gap { .. } => "gap",
        Message::NoSession { .. } => "no session",
        Message::Commit { .. } => "commit",
        Message::Confirm { .. } => "confirm",
        Message::Confirmed { .. } => "confirmed",
        Message::Stale { .. } => "stale",
    }
}

fn line(name: &str, bytes: &[u8]) -> String {
    let mut line = format!("{name}: ");
    for byte in bytes {
        write!(line, "{byte:02x}").expect("a string takes everything");
    }
    line + "\n"
}

fn bytes_of(golden: &str, name: &str) -> Bytes {
    let hex = golden
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
        .unwrap_or_else(|| panic!("{name} is in the golden file"));
    let byte = |at| u8::from_str_radix(&hex[at..at + 2], 16).expect("two digits are a byte");
    (0..hex.len()).step_by(2).map(byte).collect()
}

#[test]
fn the_bytes_of_messages_do_not_change() {
    let mut found = String::new();
    for message in messages() {
        let mut bytes = BytesMut::new();
        encode(&message, &mut bytes);
        found += &line(name_of_message(&message), &bytes);
    }
    assert_eq!(
        found, MESSAGES,
        "the bytes of replication messages (right: testdata/messages-wire-2.txt) changed: raise \
         WIRE_FORMAT in consensus/src/greeting.rs, and put the new bytes into a file of the new \
         number beside the old one"
    );
}

#[test]
fn the_bytes_of_entries_do_not_change() {
    let lines = entries().into_iter();
    let found: String = lines.map(|(name, entry)| line(name, &entry.data)).collect();
    assert_eq!(
        found, ENTRIES,
        "the bytes of entries (right: testdata/entries-journal-1.txt) changed: raise \
         JOURNAL_FORMAT in store/src/journal/format.rs and WIRE_FORMAT in \
         consensus/src/greeting.rs, and put the new bytes into a file of the new number beside \
         the old one"
    );
}

#[test]
fn messages_and_entries_of_an_older_version_are_read() {
    for message in messages() {
        let bytes = bytes_of(MESSAGES, name_of_message(&message));
        assert_eq!(decode(bytes), Ok(message));
    }
    for (name, entry) in entries() {
        let old = Entry {
            data: bytes_of(ENTRIES, name),
            ..entry.clone()
        };
        assert_eq!(old.body(), entry.body(), "{name}");
        assert_eq!(name_of_body(&old.body()), name);
    }
}
