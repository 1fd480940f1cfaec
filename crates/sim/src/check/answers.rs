//! Judges each answer as it comes, against the log as far as it is applied: what is answered was
//! applied before. Knows nothing of the end of a run.

use bytes::Bytes;
use tablestore_dataplane::{Answer, Failure};
use tablestore_placement::PartitionId;
use tablestore_replication::{Entry, Outcome};
use tablestore_store::item::codec;

use super::Check;
use super::asked::Asked;
use super::log::{PartitionLog, absent_from, change_at, end_of, request_of};
use super::page::{Page, Range};
use super::rule::{Breach, Rule};

/// When an attempt was made and when it was answered.
#[derive(Clone, Copy)]
pub(super) struct Span {
    pub(super) begun: u64,
    pub(super) ended: u64,
}

impl Check {
    /// An entry is applied for the first time.
    pub(crate) fn judge_entry(
        &mut self,
        partition: PartitionId,
        entry: &Entry,
    ) -> Result<(), Breach> {
        let Some((request, digest)) = request_of(entry) else {
            return Ok(());
        };
        let index = entry.index;
        let Some(body) = self.requests.body(partition, request.0, digest) else {
            let words = format!("nobody sent the write at index {index}, request {request}");
            return Err((Rule::Unasked, words));
        };
        if entry.payload().as_ref() != Some(&body.payload) {
            let words = format!("the write at index {index} has other bytes than were sent");
            return Err((Rule::Unasked, words));
        }
        if index <= body.floor {
            let words = format!(
                "the write got index {index}, but {} was known before its first call",
                body.floor
            );
            return Err((Rule::RealTime, words));
        }
        Ok(())
    }

    /// An attempt that began and ended at these moments was answered.
    pub(crate) fn judge_answer(
        &mut self,
        asked: &Asked,
        answer: &Answer,
        begun: u64,
        ended: u64,
    ) -> Result<(), Breach> {
        let span = Span { begun, ended };
        match (asked, answer) {
            (
                Asked::Write { .. },
                Answer::Written {
                    code,
                    version,
                    repeated,
                },
            ) => {
                let outcome = Outcome {
                    code: *code,
                    version: *version,
                };
                self.judge_written(asked, outcome, *repeated, ended)
            }
            (
                Asked::Get {
                    partition,
                    key,
                    strong,
                },
                Answer::Row(row),
            ) => {
                match *strong {
                    true => self.counts.strong_reads += 1,
                    false => self.counts.eventual_reads += 1,
                }
                self.judge_row(*partition, key, row.as_ref(), *strong, span)
            }
            (
                Asked::Scan {
                    partition,
                    from,
                    until,
                    limit,
                    reverse,
                    strong,
                },
                Answer::Page { rows, more },
            ) => {
                self.counts.pages += 1;
                let range = Range {
                    from,
                    until,
                    limit: *limit,
                    reverse: *reverse,
                    strong: *strong,
                };
                let page = Page { rows, more: *more };
                self.judge_page(*partition, &range, page, span)
            }
            (Asked::Checksums { .. }, Answer::Checksums { index, replicas }) => {
                judge_checksums(*index, replicas)
            }
            _ => Err((Rule::ForeignAnswer, "an answer of another kind".into())),
        }
    }

    /// An attempt failed; most failures are judged at the end.
    pub(crate) fn judge_failure(&mut self, asked: &Asked, failure: Failure) -> Result<(), Breach> {
        let Asked::Write {
            partition, request, ..
        } = asked
        else {
            return Ok(());
        };
        let bodies = self.requests.bodies(*partition, *request);
        if failure == Failure::RequestMismatch && bodies.len() < 2 {
            let words = "refused as sent with another body, which nobody did".into();
            return Err((Rule::OneEffect, words));
        }
        Ok(())
    }

    fn judge_written(
        &mut self,
        asked: &Asked,
        outcome: Outcome,
        repeated: bool,
        ended: u64,
    ) -> Result<(), Breach> {
        self.counts.acknowledged += 1;
        let Asked::Write {
            partition,
            key,
            request,
            digest,
            ..
        } = asked
        else {
            return Ok(());
        };
        let log = self.logs.entry(*partition).or_default();
        let body = self.requests.body(*partition, *request, *digest);
        let answered = body.map(|body| &mut body.first_answered);
        let fits = |at: &&u64| {
            let is_first = answered.as_ref().is_none_or(|known| !known.contains(*at));
            (repeated || is_first) && log.has_at(**at, *digest, Some(outcome))
        };
        let Some(&index) = log.indexes_of(*request).iter().rev().find(fits) else {
            return Err(not_in_log(log, *request, *digest, outcome));
        };
        if let (Some(answered), false) = (answered, repeated) {
            answered.push(index);
        }
        self.floors.raise(*partition, key, ended, index);
        Ok(())
    }

    fn judge_row(
        &mut self,
        partition: PartitionId,
        key: &Bytes,
        row: Option<&Bytes>,
        strong: bool,
        span: Span,
    ) -> Result<(), Breach> {
        let floor = self.floors.before(partition, key, span.begun);
        let log = self.logs.entry(partition).or_default();
        let shown = match row {
            Some(row) => {
                let chain = log.chain(key);
                let at = find(log, key, row, strong)?;
                let (version, end) = (chain[at].index, end_of(chain, at));
                if strong && end <= floor {
                    let words = format!(
                        "stale read: version {version} was gone at index {end}, \
                         {floor} was known before"
                    );
                    return Err((Rule::RealTime, words));
                }
                version
            }
            None if strong => absent_from(log.chain(key), floor).ok_or_else(|| {
                let words = format!("answered as absent, there at every index from {floor} on");
                (Rule::Absence, words)
            })?,
            // Before its first write every row was absent.
            None => 0,
        };
        self.floors.raise(partition, key, span.ended, shown);
        Ok(())
    }
}

/// What is wrong with an acknowledgement that does not fit the log.
fn not_in_log(log: &PartitionLog, request: u128, digest: u64, outcome: Outcome) -> Breach {
    let indexes = log.indexes_of(request);
    if indexes
        .iter()
        .any(|at| log.has_at(*at, digest, Some(outcome)))
    {
        let words = "answered twice as carried out for the first time";
        return (Rule::OneEffect, words.into());
    }
    if indexes.iter().any(|at| log.has_at(*at, digest, None)) {
        let words = format!(
            "answered {} and version {}, the log says otherwise at index {indexes:?}",
            outcome.code, outcome.version,
        );
        return (Rule::Acknowledged, words);
    }
    if indexes.is_empty() {
        let words = format!("not in the log, which ends at {}", log.last());
        return (Rule::Acknowledged, words);
    }
    let words = format!("the request took effect with another body, at index {indexes:?}");
    (Rule::OneEffect, words)
}

/// The change that made the row what is shown; it must be one of this very key.
pub(super) fn find(
    log: &PartitionLog,
    key: &Bytes,
    row: &Bytes,
    strong: bool,
) -> Result<usize, Breach> {
    let foreign = |words: String| Err((Rule::ForeignAnswer, words));
    let Ok((version, _)) = codec::split_row(row) else {
        return foreign(format!("{} is no row", row.escape_ascii()));
    };
    if version > log.last() {
        let words = format!(
            "{} is shown with version {version}, the last index is {}",
            key.escape_ascii(),
            log.last()
        );
        return match strong {
            true => foreign(words),
            false => Err((Rule::Eventual, words)),
        };
    }
    let chain = log.chain(key);
    let at = change_at(chain, version).filter(|at| chain[*at].index == version);
    match at.filter(|at| chain[*at].row.as_ref() == Some(row)) {
        Some(at) => Ok(at),
        None => foreign(format!(
            "{} is shown with version {version}, which never was that row",
            key.escape_ascii()
        )),
    }
}

/// Copies at one index are the same; one that could not be summed up says nothing.
fn judge_checksums(index: u64, replicas: &[(u64, Result<u64, String>)]) -> Result<(), Breach> {
    let mut sums = replicas.iter().filter_map(|(_, sum)| sum.as_ref().ok());
    let first = sums.next();
    if sums.all(|sum| Some(sum) == first) {
        return Ok(());
    }
    let words = format!("checksums at index {index} differ: {replicas:?}");
    Err((Rule::Copies, words))
}
