//! Rows of active tables: merging against a naive oracle, and their bytes.

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};
use proptest::prelude::*;
use tablestore_placement::StorageId;
use tablestore_replication::active::codec::{decode_row, encode_row};
use tablestore_replication::active::{Cell, Floor, Mark, Row, Version};

/// One row of each kind, as it travels and lies on disk.
const GOLDEN: &str = include_str!("../testdata/active-rows-1.txt");

fn version(wall_ms: u64) -> Version {
    Version {
        wall_ms,
        counter: (wall_ms % 3) as u32,
        node: StorageId(wall_ms % 2),
    }
}

fn name(at: u8) -> Bytes {
    Bytes::from(vec![b'a' + at])
}

/// A change as a client makes it; every version belongs to one change alone.
fn change() -> impl Strategy<Value = Row> {
    let attributes = prop::collection::btree_map(0u8..4, prop::option::of(any::<u8>()), 0..4);
    (0u8..3, 1u64..12, attributes).prop_map(|(kind, wall_ms, attributes)| {
        let value = |byte: u8| Bytes::from(vec![byte]);
        let attributes = attributes.into_iter();
        match kind {
            0 => Row::delete(version(wall_ms)),
            1 => {
                let set = attributes.filter_map(|(at, byte)| Some((name(at), value(byte?))));
                Row::put(version(wall_ms), set)
            }
            _ => {
                let set = attributes.map(|(at, byte)| (name(at), byte.map(value)));
                Row::patch(version(wall_ms), set)
            }
        }
    })
}

fn merged(changes: &[Row]) -> Row {
    let mut row = Row::default();
    changes.iter().for_each(|change| row.merge(change));
    row
}

/// Gathers everything first and looks at every attribute alone.
fn oracle(changes: &[Row]) -> (Option<Mark>, BTreeMap<Bytes, Cell>) {
    let mark = changes.iter().filter_map(Row::mark).max();
    let mut cells: BTreeMap<Bytes, Vec<Cell>> = BTreeMap::new();
    for (name, cell) in changes.iter().flat_map(|change| change.attributes()) {
        cells.entry(name.clone()).or_default().push(cell.clone());
    }
    let is_hidden = |cell: &Cell| {
        mark.is_some_and(|mark| {
            cell.version < mark.version || (mark.is_delete && cell.version == mark.version)
        })
    };
    let newest = |(name, cells): (Bytes, Vec<Cell>)| Some((name, cells.into_iter().max()?));
    let cells = cells.into_iter().filter_map(newest);
    (mark, cells.filter(|(_, cell)| !is_hidden(cell)).collect())
}

proptest! {
    #[test]
    fn merging_does_what_the_oracle_does_in_any_order(
        changes in prop::collection::vec(change(), 0..8),
        shuffled in any::<prop::sample::Index>(),
    ) {
        let row = merged(&changes);
        prop_assert_eq!((row.mark(), row.attributes().clone()), oracle(&changes));
        let mut turned = changes.clone();
        if !turned.is_empty() {
            let at = shuffled.index(turned.len());
            turned.rotate_left(at);
            turned.reverse();
        }
        prop_assert_eq!(merged(&turned), row);
    }

    #[test]
    fn merging_is_associative_and_idempotent(
        a in prop::collection::vec(change(), 0..4),
        b in prop::collection::vec(change(), 0..4),
        c in prop::collection::vec(change(), 0..4),
    ) {
        let (a, b, c) = (merged(&a), merged(&b), merged(&c));
        let left = merged(&[merged(&[a.clone(), b.clone()]), c.clone()]);
        let right = merged(&[a.clone(), merged(&[b.clone(), c.clone()])]);
        prop_assert_eq!(&left, &right);
        let again = merged(&[left.clone(), a.clone()]);
        prop_assert_eq!(&again, &left);
        prop_assert!(left.includes(&a) && left.includes(&b) && left.includes(&c));
        let joined = merged(&[a.clone(), b.clone()]);
        prop_assert_eq!(a.includes(&b), joined == a);
    }

    #[test]
    fn collecting_does_not_change_what_a_reader_sees(
        changes in prop::collection::vec(change(), 0..8),
        floor in 0u64..14,
    ) {
        let row = merged(&changes);
        let collected = row.collected(Floor(floor));
        prop_assert_eq!(collected.visible(), row.visible());
    }

    #[test]
    fn a_row_survives_its_bytes(changes in prop::collection::vec(change(), 0..8)) {
        let row = merged(&changes);
        let bytes = encoded(&row);
        prop_assert_eq!(decode_row(bytes), Ok(row));
    }

    #[test]
    fn bytes_that_decode_are_the_only_ones_of_their_row(
        start in prop::collection::vec(change(), 0..3),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let mut bytes = encoded(&merged(&start)).to_vec();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if let Ok(row) = decode_row(bytes.clone().into()) {
            // A number may be written longer than needed; nothing else may differ.
            prop_assert!(encoded(&row).len() <= bytes.len());
        }
        prop_assert!(decode_row(Bytes::copy_from_slice(&bytes[..at])).is_err());
    }

    #[test]
    fn no_bytes_cause_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
        let mut with_format = vec![1];
        with_format.extend_from_slice(&bytes);
        let _ = decode_row(bytes.into());
        let _ = decode_row(with_format.into());
    }
}

fn encoded(row: &Row) -> Bytes {
    let mut bytes = BytesMut::new();
    encode_row(row, &mut bytes);
    bytes.freeze()
}

fn rows() -> Vec<(&'static str, Row)> {
    let stamp = |wall_ms| Version {
        wall_ms,
        counter: 300,
        node: StorageId(9),
    };
    let value = Bytes::from_static(b"value");
    let mut both = Row::delete(stamp(1_700_000_000_000));
    both.merge(&Row::patch(
        stamp(1_700_000_000_001),
        [(name(0), Some(value.clone())), (name(1), None)],
    ));
    vec![
        ("empty", Row::default()),
        ("put", Row::put(stamp(5), [(name(0), value)])),
        ("delete", Row::delete(stamp(5))),
        ("delete and patch", both),
    ]
}

#[test]
fn the_bytes_of_rows_do_not_change() {
    let mut found = String::new();
    for (kind, row) in rows() {
        let bytes = encoded(&row);
        let digits: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        found += &format!("{kind}: {}\n", digits.concat());
        assert_eq!(decode_row(bytes), Ok(row));
    }
    assert_eq!(
        found, GOLDEN,
        "the bytes of rows (right: testdata/active-rows-1.txt) changed: raise ROW_FORMAT, and put \
         the new bytes into a file of the new number beside the old one"
    );
}

#[test]
fn a_patch_behind_a_delete_makes_a_row_of_its_attributes_alone() {
    let old = Row::put(
        version(1),
        [(name(0), Bytes::new()), (name(1), Bytes::new())],
    );
    let patch = Row::patch(version(3), [(name(1), Some(Bytes::new()))]);
    let row = merged(&[patch, Row::delete(version(2)), old]);
    let visible = row
        .visible()
        .map(|row| row.keys().copied().cloned().collect());
    assert_eq!(visible, Some(vec![name(1)]));
    let put = merged(&[Row::put(version(4), []), row]);
    assert_eq!(put.visible().map(|row| row.len()), Some(0));
    assert_eq!(merged(&[Row::delete(version(5)), put]).visible(), None);
}
