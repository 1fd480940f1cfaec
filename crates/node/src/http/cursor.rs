//! Cursors: where a scan goes on, as text that means nothing to a client and is checked when
//! it comes back.
//!
//! A cursor is bound to its table (by id, so that a table of the same name made later refuses it)
//! and to the question it continues.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use tablestore_placement::TableId;
use tablestore_store::key;

use super::catalog::TableEntry;
use super::problem::Problem;

const CURSOR_FORMAT: u8 = 1;
/// Format, table, partition, fingerprint; the key; the checksum.
const HEAD_BYTES: usize = 1 + 4 + 4 + 8;
const CHECKSUM_BYTES: usize = 4;

/// Partition number and encoded key of the last row that was given.
pub(crate) type Position = (u32, Vec<u8>);

/// The text of a position. `fingerprint` stands for the question.
pub(crate) fn encode(table: TableId, fingerprint: u64, position: &Position) -> String {
    let (partition, key) = position;
    let mut bytes = Vec::with_capacity(HEAD_BYTES + key.len() + CHECKSUM_BYTES);
    bytes.push(CURSOR_FORMAT);
    bytes.extend_from_slice(&table.0.to_be_bytes());
    bytes.extend_from_slice(&partition.to_be_bytes());
    bytes.extend_from_slice(&fingerprint.to_be_bytes());
    bytes.extend_from_slice(key);
    bytes.extend_from_slice(&crc32c::crc32c(&bytes).to_be_bytes());
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The position of a text.
///
/// # Errors
/// Names `cursor` when it is damaged, or of another table or question.
pub(crate) fn decode(
    table: &TableEntry,
    fingerprint: u64,
    text: &str,
) -> Result<Position, Problem> {
    let bad = |got| Problem::invalid("cursor", "next_cursor of the page before", got);
    let bytes = URL_SAFE_NO_PAD
        .decode(text)
        .map_err(|_| bad("text that is no cursor"))?;
    let (content, checksum) = bytes
        .split_last_chunk::<CHECKSUM_BYTES>()
        .filter(|(content, _)| content.len() >= HEAD_BYTES)
        .ok_or_else(|| bad("text that is no cursor"))?;
    if crc32c::crc32c(content) != u32::from_be_bytes(*checksum) || content[0] != CURSOR_FORMAT {
        return Err(bad("text that is no cursor"));
    }
    let number = |at: usize| {
        let bytes = content[at..at + 4]
            .try_into()
            .expect("the head has its length");
        u32::from_be_bytes(bytes)
    };
    if number(1) != table.target.id.0 {
        return Err(bad("a cursor of another table"));
    }
    let asked = content[9..HEAD_BYTES]
        .try_into()
        .expect("the head has its length");
    if u64::from_be_bytes(asked) != fingerprint {
        return Err(bad(
            "a cursor of another question (pk, from, to or reverse differ)",
        ));
    }
    let partition = number(5);
    let key = &content[HEAD_BYTES..];
    if partition >= table.target.partitions || key::decode_row_key(key).is_err() {
        return Err(bad("a cursor of another form of the table"));
    }
    Ok((partition, key.to_vec()))
}

#[cfg(test)]
mod tests {
    use tablestore_placement::testing::definition;
    use tablestore_store::testing::golden::Golden;
    use tablestore_store::{KeyType, KeyValue};

    use super::*;
    use crate::api::TableTarget;
    use crate::http::catalog::KeyPart;
    use crate::http::scan::fingerprint;

    fn table(id: u32) -> TableEntry {
        TableEntry {
            target: TableTarget::new(TableId(id), &definition(4, 1, 1)),
            name: "orders".to_owned(),
            partition_key: KeyPart {
                name: "id".to_owned(),
                key_type: KeyType::String,
            },
            sort_key: None,
        }
    }

    /// Cursors of table 7 at one row each, after the question that they continue.
    const GOLDEN: Golden<'_> = Golden {
        format: "cursors",
        number: "CURSOR_FORMAT",
        file: "cursor-1.txt",
        text: include_str!("../../testdata/cursor-1.txt"),
    };

    /// Word, fingerprint of the question, partition and key of the last row.
    fn cases() -> [(&'static str, u64, Position); 3] {
        let text = |text: &str| KeyValue::String(text.to_owned());
        let row = |key: &str| key::encode_row_key(&text(key), None);
        let pair = key::encode_row_key(&text("a"), Some(&text("b\0c")));
        let range = [&Some(text("a")), &Some(text("b")), &None];
        [
            ("table", fingerprint([&None; 3], false), (3, row("a"))),
            ("range", fingerprint(range, false), (0, pair.clone())),
            ("reverse", fingerprint(range, true), (2, pair)),
        ]
    }

    #[test]
    fn the_bytes_of_cursors_do_not_change() {
        let line = |(word, question, position)| {
            format!("{word} {}\n", encode(TableId(7), question, &position))
        };
        GOLDEN.check(&cases().map(line).concat());
    }

    #[test]
    fn cursors_of_the_golden_file_are_read() {
        assert_eq!(GOLDEN.text.lines().count(), cases().len());
        for (line, (word, question, position)) in GOLDEN.text.lines().zip(cases()) {
            let (name, text) = line.split_once(' ').unwrap_or_default();
            assert_eq!(name, word);
            assert_eq!(decode(&table(7), question, text), Ok(position), "{word}");
        }
    }

    #[test]
    fn a_cursor_is_good_for_its_own_table_and_question_only() {
        let key = key::encode_row_key(&KeyValue::String("a".to_owned()), None);
        let position = (3, key);
        let text = encode(TableId(7), 42, &position);
        assert_eq!(decode(&table(7), 42, &text), Ok(position.clone()));
        let outside = encode(TableId(7), 42, &(4, position.1));
        let mut damaged = text.clone().into_bytes();
        damaged[5] ^= 1;
        let damaged = String::from_utf8(damaged).unwrap_or_default();
        for (id, question, text) in [
            (8, 42, &*text),
            (7, 43, &*text),
            (7, 42, &*damaged),
            (7, 42, &*outside),
            (7, 42, ""),
        ] {
            let field = decode(&table(id), question, text).map_err(|problem| problem.field.clone());
            assert_eq!(field, Err(Some("cursor".to_owned())), "{text}");
        }
    }
}
