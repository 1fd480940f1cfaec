//! The bytes of messages of active tables: golden vectors, round trips, and bytes that are no
//! message.

use bytes::{Bytes, BytesMut};
use proptest::prelude::*;
use tablestore_placement::{Epoch, StorageId};
use tablestore_replication::active::merkle::Node;
use tablestore_replication::active::wire::{decode, decode_meta, encode, encode_meta};
use tablestore_replication::active::{
    Floor, Message, Origin, Page, Proof, Refusal, ReplicaMeta, RequestNumber, Row, SweepHead,
    Version,
};

/// Every kind of message, as it travels.
const GOLDEN: &str = include_str!("../testdata/active-messages-1.txt");

fn row() -> Row {
    let version = Version {
        wall_ms: 1_700_000_000_000,
        counter: 2,
        node: StorageId(9),
    };
    Row::put(
        version,
        [(Bytes::from_static(b"a"), Bytes::from_static(b"1"))],
    )
}

fn proof() -> Proof {
    Proof {
        floor: Floor(1_600_000_000_000),
        members: vec![StorageId(1), StorageId(300)],
    }
}

fn page() -> Page {
    Page {
        leaf: 4095,
        after: None,
        until: Some(Bytes::from_static(b"key")),
        rows: vec![(Bytes::from_static(b"key"), row())],
    }
}

fn messages() -> Vec<Message> {
    let request = RequestNumber {
        incarnation: 3,
        number: 500,
    };
    let epoch = Epoch(7);
    let key = Bytes::from_static(b"key");
    let head = SweepHead {
        request,
        epoch,
        proof: proof(),
    };
    let origins = [
        Origin::Client,
        Origin::Hint,
        Origin::Repair,
        Origin::DurableRepair,
    ];
    let refusals = [
        Refusal::OlderEpoch,
        Refusal::EpochUnknown,
        Refusal::NotAReplica,
        Refusal::BelowFloor,
        Refusal::TooFarAhead { ahead_ms: 501 },
        Refusal::Rebuilding,
        Refusal::Busy,
    ];
    let write = |origin| Message::Write {
        request,
        epoch,
        key: key.clone(),
        change: row(),
        origin,
    };
    let mut all: Vec<Message> = origins.map(write).into();
    all.extend(refusals.map(|why| Message::Refused { request, why }));
    all.extend([
        Message::Written { request },
        Message::Read {
            request,
            epoch,
            key: key.clone(),
            durable: true,
        },
        Message::Found {
            request,
            row: row(),
            floor: Floor(5),
        },
        Message::Fence {
            head: head.clone(),
            floor: Floor(6),
        },
        Message::Fenced { request },
        Message::Compare {
            head: head.clone(),
            nodes: vec![(Node::ROOT, 1), (Node(4368), u128::MAX - 1)],
        },
        Message::Differ {
            request,
            nodes: vec![Node::ROOT, Node(4368)],
        },
        Message::Exchange { head, page: page() },
        Message::Exchanged {
            request,
            page: Page::default(),
            refused: true,
        },
        Message::Proved {
            epoch,
            proof: proof(),
        },
        Message::NotNow {
            request,
            epoch,
            proof: Proof::default(),
        },
        Message::Refused {
            request,
            why: Refusal::NoRoom,
        },
    ]);
    all
}

fn encoded(message: &Message) -> Bytes {
    let mut bytes = BytesMut::new();
    encode(message, &mut bytes);
    bytes.freeze()
}

fn meta_bytes(meta: &ReplicaMeta) -> Bytes {
    let mut bytes = BytesMut::new();
    encode_meta(meta, &mut bytes);
    bytes.freeze()
}

fn digits(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Fails to compile when there is another kind, which then belongs into [`messages`].
fn name_of(message: &Message) -> &'static str {
    match message {
        Message::Write { .. } => "write",
        Message::Written { .. } => "written",
        Message::Read { .. } => "read",
        Message::Found { .. } => "found",
        Message::Refused { .. } => "refused",
        Message::Fence { .. } => "fence",
        Message::Fenced { .. } => "fenced",
        Message::Compare { .. } => "compare",
        Message::Differ { .. } => "differ",
        Message::Exchange { .. } => "exchange",
        Message::Exchanged { .. } => "exchanged",
        Message::Proved { .. } => "proved",
        Message::NotNow { .. } => "not now",
    }
}

#[test]
fn the_bytes_of_messages_do_not_change() {
    let mut found = String::new();
    for message in messages() {
        let bytes = encoded(&message);
        found += &format!("{}: {}\n", name_of(&message), digits(&bytes));
        for end in 0..bytes.len() {
            assert!(
                decode(bytes.slice(..end)).is_err(),
                "{message:?} cut at {end}"
            );
        }
        assert_eq!(decode(bytes), Ok(message));
    }
    let meta = ReplicaMeta {
        epoch: Epoch(7),
        fence: Floor(1_650_000_000_000),
        proof: proof(),
        is_purging: false,
        is_rebuilding: true,
    };
    let bytes = meta_bytes(&meta);
    found += &format!("meta: {}\n", digits(&bytes));
    assert_eq!(decode_meta(bytes), Ok(meta));
    assert_eq!(
        found, GOLDEN,
        "the bytes of messages (right: testdata/active-messages-1.txt) changed: put the new ones \
         into a file of the next number beside the old one"
    );
}

#[test]
fn a_page_that_names_a_key_twice_is_no_message() {
    let key = Bytes::from_static(b"key");
    let twice = Message::Exchanged {
        request: RequestNumber::default(),
        page: Page {
            rows: vec![(key.clone(), row()), (key, row())],
            ..page()
        },
        refused: false,
    };
    assert!(decode(encoded(&twice)).is_err());
}

proptest! {
    #[test]
    fn no_bytes_cause_a_panic(
        kind in 0u8..16,
        bytes in prop::collection::vec(prop_oneof![0u8..4, any::<u8>()], 0..120),
    ) {
        let mut with_kind = vec![kind];
        with_kind.extend_from_slice(&bytes);
        if let Ok(message) = decode(with_kind.into()) {
            prop_assert_eq!(decode(encoded(&message)), Ok(message));
        }
        let mut with_format = vec![1];
        with_format.extend_from_slice(&bytes);
        if let Ok(meta) = decode_meta(with_format.into()) {
            prop_assert_eq!(decode_meta(meta_bytes(&meta)), Ok(meta));
        }
    }

    #[test]
    fn a_message_with_a_changed_byte_is_another_one_or_none(
        which in any::<prop::sample::Index>(),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let messages = messages();
        let mut bytes = encoded(&messages[which.index(messages.len())]).to_vec();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if let Ok(message) = decode(bytes.into()) {
            prop_assert_eq!(decode(encoded(&message)), Ok(message));
        }
    }
}
