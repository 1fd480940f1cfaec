//! The bytes of messages: golden vectors, round trips, and bytes that are no message.

use bytes::{Bytes, BytesMut};
use proptest::prelude::*;
use tablestore_placement::Epoch;
use tablestore_replication::codec::{DecodeError, decode, encode};
use tablestore_replication::{Entry, EpochStartsAt, LogPoint, Message, RequestId};

fn encoded(message: &Message) -> Bytes {
    let mut bytes = BytesMut::new();
    encode(message, &mut bytes);
    bytes.freeze()
}

fn entries() -> impl Strategy<Value = Vec<Entry>> {
    let bodies = prop::collection::vec(
        (any::<u64>(), prop::collection::vec(any::<u8>(), 0..40)),
        0..5,
    );
    (1..u64::MAX / 2, bodies).prop_map(|(first, bodies)| {
        let entry = |(at, (epoch, data)): (u64, (u64, Vec<u8>))| Entry {
            epoch: Epoch(epoch),
            index: first + at,
            data: data.into(),
        };
        (0u64..).zip(bodies).map(entry).collect()
    })
}

fn message() -> impl Strategy<Value = Message> {
    let history = prop::collection::vec((any::<u64>(), any::<u64>()), 0..5).prop_map(|starts| {
        let start = |(epoch, index)| EpochStartsAt {
            epoch: Epoch(epoch),
            index,
        };
        starts.into_iter().map(start).collect::<Vec<_>>()
    });
    let number = any::<u64>;
    (
        0..10,
        [number(), number(), number(), number(), number()],
        history,
        entries(),
    )
        .prop_map(|(kind, [a, b, c, d, e], history, entries)| {
            let epoch = Epoch(a);
            match kind {
                0 => Message::Sync {
                    epoch,
                    nonce: b,
                    history,
                    end: c,
                    commit: d,
                    first: e,
                    entries,
                },
                1 => Message::Synced {
                    epoch,
                    nonce: b,
                    end: c,
                    commit: d,
                    needs_snapshot: e % 2 == 0,
                },
                2 => Message::Append {
                    epoch,
                    prev: LogPoint {
                        epoch: Epoch(b),
                        index: c,
                    },
                    commit: d,
                    entries,
                },
                3 => Message::Ack {
                    epoch,
                    end: b,
                    received: c,
                    commit: d,
                },
                4 => Message::Gap { epoch, end: b },
                5 => Message::NoSession { epoch },
                6 => Message::Commit { epoch, commit: b },
                7 => Message::Confirm { epoch, round: b },
                8 => Message::Confirmed { epoch, round: b },
                _ => Message::Stale {
                    epoch,
                    refused: Epoch(b),
                },
            }
        })
}

proptest! {
    #[test]
    fn a_message_survives_the_wire(message in message()) {
        prop_assert_eq!(decode(encoded(&message)), Ok(message));
    }

    #[test]
    fn a_message_cut_short_is_refused(message in message(), cut in any::<prop::sample::Index>()) {
        let bytes = encoded(&message);
        let short = bytes.slice(..cut.index(bytes.len()));
        prop_assert!(decode(short).is_err());
    }

    #[test]
    fn any_bytes_are_a_message_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
        if let Ok(message) = decode(bytes.into()) {
            prop_assert_eq!(decode(encoded(&message)), Ok(message));
        }
    }
}

#[test]
fn the_bytes_of_an_append_are_as_they_always_were() {
    let append = Message::Append {
        epoch: Epoch(3),
        prev: LogPoint {
            epoch: Epoch(2),
            index: 300,
        },
        commit: 299,
        entries: vec![
            Entry::epoch_start(Epoch(3), 301),
            Entry::checksum(Epoch(3), 302, 5),
        ],
    };
    let expected = [
        3, 3, 2, 0xac, 0x02, 0xab, 0x02, 2, 0xad, 0x02, 3, 1, 0, 3, 9, 2, 5, 0, 0, 0, 0, 0, 0, 0,
    ];
    assert_eq!(encoded(&append)[..], expected);
}

#[test]
fn an_append_of_one_write_costs_little_beside_the_body() {
    let entry = Entry::write(Epoch(9), 1_000_000, 1, RequestId(1), 1, &[0; 100]);
    let body = entry.data.len();
    let append = Message::Append {
        epoch: Epoch(9),
        prev: LogPoint {
            epoch: Epoch(9),
            index: 999_999,
        },
        commit: 999_999,
        entries: vec![entry],
    };
    assert!(encoded(&append).len() - body <= 16);
}

#[test]
fn kinds_of_later_versions_and_surplus_bytes_are_told_apart() {
    assert_eq!(decode(Bytes::new()), Err(DecodeError::Short));
    assert_eq!(
        decode(Bytes::from_static(&[99, 1])),
        Err(DecodeError::Kind(99))
    );
    assert_eq!(
        decode(Bytes::from_static(&[6, 1, 1])),
        Err(DecodeError::Surplus)
    );
    assert_eq!(
        decode(Bytes::from_static(&[6, 0x80])),
        Err(DecodeError::Short)
    );
    assert_eq!(
        decode(Bytes::from_static(&[
            6, 255, 255, 255, 255, 255, 255, 255, 255, 255, 2
        ])),
        Err(DecodeError::Range)
    );
}
