//! What a read showed, and what replicas have at rest, against what a majority had acknowledged.
//! Knows nothing of how it was asked for.

use std::collections::BTreeMap;

use bytes::Bytes;
use tablestore_placement::{PartitionId, StorageId};
use tablestore_replication::active::{Row, Version};
use tablestore_store::Value;
use tablestore_store::item::codec;

use super::known::Shown;
use super::{ActiveCheck, Asked, Breach, OpId, Rule};

/// Bits of a version, as answers show it, that count writes of one millisecond.
const COUNTER_BITS: u32 = 12;

/// The version that an answer of a node shows.
pub(crate) fn version_of(shown: u64, node: StorageId) -> Version {
    let counter = shown & ((1 << COUNTER_BITS) - 1);
    Version {
        wall_ms: shown >> COUNTER_BITS,
        counter: u32::try_from(counter).unwrap_or(u32::MAX),
        node,
    }
}

/// A value that tells its write, with so much behind it.
pub(crate) fn text_of(op: OpId, filler: usize) -> String {
    format!("{op}{}", "x".repeat(filler))
}

/// The text in an attribute as replicas keep it.
pub(super) fn stored_text(value: &[u8]) -> Result<String, Breach> {
    let item = codec::decode_item(value);
    match item.map(|item| item.into_values().next()) {
        Ok(Some(Value::String(text))) => Ok(text),
        other => Err((Rule::Foreign, format!("an attribute is {other:?}"))),
    }
}

impl ActiveCheck {
    /// A client is shown a row, or that there is none.
    pub(crate) fn found(&mut self, op: OpId, row: Option<&Bytes>) {
        let Some(partition) = self.op(op).map(|of| of.partition) else {
            return;
        };
        let judged = self.judge_read(op, row);
        let judged = judged.map_err(|(rule, words)| (rule, format!("read {op}: {words}")));
        self.heed(partition, judged);
    }

    fn judge_read(&mut self, op: OpId, row: Option<&Bytes>) -> Result<(), Breach> {
        let Some(of) = self.op(op).cloned() else {
            return Ok(());
        };
        let Asked::Read { r, strong } = of.asked else {
            return Err((Rule::Foreign, "a write is shown a row".to_owned()));
        };
        let place = (of.partition, &of.key);
        let mut shown = Shown::new();
        for (name, text) in row.map(texts).transpose()?.unwrap_or_default() {
            let writer = self.writer_of(place, &name, &text)?;
            let version = self.op(writer).and_then(|of| of.version);
            let Some(version) = version else {
                let words = format!("{name} of write {writer} is at no replica");
                return Err((Rule::Foreign, words));
            };
            shown.insert(name, version);
        }
        if r * 2 <= self.replicas {
            return Ok(());
        }
        self.counts.reads += 1;
        let history = self.rows.entry((of.partition, of.key)).or_default();
        let judged = of.expected.judge(row.is_some(), &shown, &history.hiders);
        if strong {
            // No later one sees less.
            for (name, version) in &shown {
                history.expected.see(name, *version);
            }
        }
        judged
    }

    /// Replicas are at rest with all their rows: each has what was acknowledged, and the same as
    /// all others.
    pub(crate) fn at_rest(
        &mut self,
        partition: PartitionId,
        copies: &[(StorageId, BTreeMap<Bytes, Row>)],
    ) {
        for (member, rows) in copies {
            let judged = self.judge_copy(partition, rows);
            let judged = judged.map_err(|(rule, words)| (rule, format!("{member}: {words}")));
            self.heed(partition, judged);
        }
        for pair in copies.windows(2) {
            let [(one, its), (other, others)] = pair else {
                continue;
            };
            let mut keys = its.keys().chain(others.keys());
            if let Some(key) = keys.find(|key| its.get(*key) != others.get(*key)) {
                let (key_shown, its, others) = (key.escape_ascii(), its.get(key), others.get(key));
                let words = format!("of {key_shown} {one} has {its:?}, {other} has {others:?}");
                self.heed(partition, Err((Rule::Differ, words)));
            }
        }
    }

    fn judge_copy(
        &self,
        partition: PartitionId,
        rows: &BTreeMap<Bytes, Row>,
    ) -> Result<(), Breach> {
        let nothing = Row::default();
        for (key, row) in rows {
            for (name, cell) in row.attributes() {
                let Some(value) = &cell.value else { continue };
                let name = String::from_utf8_lossy(name);
                let writer = self.writer_of((partition, key), &name, &stored_text(value)?)?;
                if self.op(writer).and_then(|of| of.version) != Some(cell.version) {
                    let words = format!("write {writer} has {:?}", cell.version);
                    return Err((Rule::Stamp, words));
                }
            }
        }
        let histories = self.rows.iter().filter(|((of, _), _)| *of == partition);
        for ((_, key), history) in histories {
            let row = rows.get(key).unwrap_or(&nothing);
            let cells = row.attributes().iter();
            let cells = cells.filter(|(_, cell)| cell.value.is_some());
            let name = |name| String::from_utf8_lossy(name).into_owned();
            let shown = cells.map(|(of, cell)| (name(of), cell.version)).collect();
            let exists = row.visible().is_some();
            let judged = history.expected.judge(exists, &shown, &history.hiders);
            judged.map_err(|(rule, words)| (rule, format!("{}: {words}", key.escape_ascii())))?;
        }
        Ok(())
    }
}

/// The attributes of a row as an answer shows them.
fn texts(row: &Bytes) -> Result<Vec<(String, String)>, Breach> {
    let foreign = |words: String| (Rule::Foreign, words);
    let (_, item) = codec::decode_row(row).map_err(|error| foreign(error.to_string()))?;
    let attributes = item.into_iter().map(|(name, value)| match value {
        Value::String(text) => Ok((name, text)),
        other => Err(foreign(format!("{name} is {other:?}"))),
    });
    attributes.collect()
}
