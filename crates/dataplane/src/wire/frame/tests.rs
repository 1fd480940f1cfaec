//! The bytes of each message, there and back.

#![allow(clippy::unwrap_used, reason = "a test may fail by panic")]

use std::fmt::Write as _;

use tablestore_placement::{Office, StorageId};
use tablestore_replication::{EpochStartsAt, SnapshotMeta};
use tablestore_store::testing::golden::{Golden, bytes, hex};

use super::*;
use crate::request::{Answer, Failure};
use crate::settings::MESSAGE_BYTES_MAX;
use crate::transfer::{Chunk, Ended, Totals};

fn decode(bytes: Bytes) -> Result<Vec<DataMessage>, WireError> {
    Frame::decode(bytes, MESSAGE_BYTES_MAX).map(|frame| frame.0)
}

/// The bytes of formats 2 and 3, a message a line: they may not change under these numbers.
const GOLDEN: &str = include_str!("../../../testdata/wire-format-2.txt");

fn partition() -> PartitionId {
    PartitionId::from_u64(7 << 32 | 3)
}

fn correlation() -> Correlation {
    Correlation {
        incarnation: Incarnation(6),
        ticket: 5,
    }
}

fn operations() -> Vec<(&'static str, Operation)> {
    let bytes = Bytes::from_static(b"bytes");
    let write = Operation::Write {
        request: u128::MAX - 5,
        digest: 9,
        payload: bytes.clone(),
    };
    let get = Operation::Get {
        key: bytes.clone(),
        strong: true,
    };
    let scan = Operation::Scan {
        from: bytes,
        until: Bytes::new(),
        limit: 10,
        reverse: false,
        strong: true,
    };
    vec![
        ("write", write),
        ("get", get),
        ("scan", scan),
        ("checksum", Operation::Checksum),
    ]
}

fn results() -> Vec<(&'static str, Result<Answer, Failure>)> {
    let bytes = Bytes::from_static(b"bytes");
    let written = Answer::Written {
        code: 412,
        version: 8,
        repeated: true,
    };
    let page = Answer::Page {
        rows: vec![(bytes.clone(), bytes.clone())],
        more: true,
    };
    let checksums = Answer::Checksums {
        index: 4,
        replicas: vec![(1, Ok(2)), (2, Err("late".to_owned()))],
    };
    vec![
        ("written", Ok(written)),
        ("no row", Ok(Answer::Row(None))),
        ("row", Ok(Answer::Row(Some(bytes)))),
        ("page", Ok(page)),
        ("checksums", Ok(checksums)),
        ("failure", Err(Failure::Unknown)),
    ]
}

fn steps() -> Vec<(&'static str, CopyStep)> {
    let history = vec![EpochStartsAt {
        epoch: Epoch(1),
        index: 1,
    }];
    let meta = SnapshotMeta {
        index: 9,
        epoch: Epoch(1),
        history,
    };
    let bytes = Bytes::from_static(b"bytes");
    let chunk = Chunk {
        number: 3,
        pairs: vec![(bytes.clone(), bytes)],
        totals: None,
    };
    let totals = Totals {
        rows: 4,
        bytes: 40,
        checksum: 400,
    };
    let last = Chunk {
        number: 4,
        pairs: Vec::new(),
        totals: Some(totals),
    };
    vec![
        ("begin", CopyStep::Begin(meta)),
        ("chunk", CopyStep::Chunk(chunk)),
        ("last chunk", CopyStep::Chunk(last)),
        ("acknowledged", CopyStep::Ack(3)),
        ("ended", CopyStep::End(Ended::Gap)),
    ]
}

/// One message of every form.
fn messages() -> Vec<(String, DataMessage)> {
    let forward = |(name, operation)| {
        let message = DataMessage::Forward {
            correlation: correlation(),
            partition: partition(),
            epoch: Epoch(2),
            relay: false,
            operation,
        };
        (format!("forward, {name}"), message)
    };
    let reply = |(name, result)| {
        let message = DataMessage::Reply {
            correlation: correlation(),
            question: 11,
            reply: Reply {
                epoch: Epoch(3),
                result,
            },
        };
        (format!("reply, {name}"), message)
    };
    let copy = |(name, step)| {
        let sender = Office {
            member: StorageId(1),
            incarnation: Incarnation(4),
        };
        let message = DataMessage::Copy {
            partition: partition(),
            transfer: TransferId {
                sender,
                epoch: Epoch(2),
                number: 8,
            },
            step,
        };
        (format!("copy, {name}"), message)
    };
    let confirm = DataMessage::Replication {
        partition: partition(),
        message: Message::Confirm {
            epoch: Epoch(2),
            round: 1,
        },
    };
    let sums = DataMessage::Checksum {
        partition: partition(),
        id: 1,
        index: 2,
        sums: vec![3, 4],
    };
    let mut messages: Vec<_> = operations().into_iter().map(forward).collect();
    messages.extend(results().into_iter().map(reply));
    messages.extend(steps().into_iter().map(copy));
    messages.push(("replication, confirm".to_owned(), confirm));
    messages.push(("checksum".to_owned(), sums));
    let relay = DataMessage::Forward {
        correlation: correlation(),
        partition: partition(),
        epoch: Epoch(2),
        relay: true,
        operation: Operation::Checksum,
    };
    messages.push(("relay, checksum".to_owned(), relay));
    let written = DataMessage::Active {
        partition: partition(),
        message: active::Message::Written {
            request: active::RequestNumber {
                incarnation: 6,
                number: 300,
            },
        },
    };
    messages.push(("active, written".to_owned(), written));
    messages
}

#[test]
fn every_message_comes_back_as_it_was() {
    for (name, message) in messages() {
        let mut frame = BytesMut::new();
        encode_message(&message, &mut frame);
        encode_message(&message, &mut frame);
        let decoded = decode(frame.freeze()).unwrap();
        assert_eq!(decoded.len(), 2, "{name}");
        for one in decoded {
            assert_eq!(format!("{message:?}"), format!("{one:?}"));
        }
    }
}

#[test]
fn the_bytes_of_formats_2_and_3_do_not_change() {
    let mut lines = String::new();
    for (name, message) in messages() {
        let mut frame = BytesMut::new();
        encode_message(&message, &mut frame);
        writeln!(lines, "{name}: {}", hex(&frame)).unwrap();
    }
    let golden = Golden {
        format: "messages between data threads",
        number: "WIRE_FORMAT",
        file: "wire-format-2.txt",
        text: GOLDEN,
    };
    golden.check(&lines);
}

#[test]
fn messages_of_an_older_version_are_read() {
    for (line, (name, message)) in GOLDEN.lines().zip(messages()) {
        let (of, hex) = line.split_once(": ").unwrap();
        assert_eq!(of, name);
        let decoded = decode(bytes(hex).into()).unwrap();
        assert_eq!(format!("{decoded:?}"), format!("[{message:?}]"));
    }
}

#[test]
fn the_numbers_of_failures_and_ends_do_not_change() {
    let failures = (0..=u8::MAX).filter_map(|number| {
        let failure = Failure::from_number(number)?;
        assert_eq!(failure.number(), number);
        Some(format!("{number} {failure:?}"))
    });
    let ends = (0..=u8::MAX).filter_map(|number| {
        let end = Ended::from_number(number)?;
        assert_eq!(end.number(), number);
        Some(format!("{number} {end:?}"))
    });
    let golden = Golden {
        format: "the numbers of failures and of ends of copies between data threads",
        number: "WIRE_FORMAT",
        file: "wire-numbers-3.txt",
        text: include_str!("../../../testdata/wire-numbers-3.txt"),
    };
    let lines: Vec<String> = failures.chain(ends).collect();
    golden.check(&lines.join("\n"));
}

#[test]
fn a_message_that_is_cut_anywhere_is_refused_or_is_a_shorter_list() {
    for (name, message) in messages() {
        let mut frame = BytesMut::new();
        encode_message(&message, &mut frame);
        let whole = frame.freeze();
        for end in 1..whole.len() {
            assert!(decode(whole.slice(..end)).is_err(), "{name} at {end}");
        }
    }
}

#[test]
fn bytes_of_a_broken_peer_are_refused() {
    let frames: [&'static [u8]; 4] = [
        b"\x01",
        b"\x00\x00\x00\x00\x01",
        b"\xff\xff\xff\xff\x01",
        b"\x02\x00\x00\x00\x63\x01",
    ];
    for frame in frames {
        assert!(decode(Bytes::from_static(frame)).is_err());
    }
}
