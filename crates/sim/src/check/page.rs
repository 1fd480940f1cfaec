//! Judges a page of rows: its shape, each row of it, each row that it lacks, and that all of it is
//! of one moment. Knows nothing of other answers.

use std::ops::Bound;

use bytes::Bytes;
use tablestore_placement::PartitionId;

use super::Check;
use super::answers::{Span, find};
use super::log::{Change, absent_from, change_at, end_of};
use super::rule::{Breach, Rule};

/// A range that was asked for.
pub(super) struct Range<'a> {
    pub(super) from: &'a Bytes,
    pub(super) until: &'a Bytes,
    pub(super) limit: u32,
    pub(super) reverse: bool,
    pub(super) strong: bool,
}

/// A range that was answered.
#[derive(Clone, Copy)]
pub(super) struct Page<'a> {
    pub(super) rows: &'a [(Bytes, Bytes)],
    pub(super) more: bool,
}

impl Check {
    /// A page was answered.
    pub(super) fn judge_page(
        &mut self,
        partition: PartitionId,
        range: &Range<'_>,
        page: Page<'_>,
        span: Span,
    ) -> Result<(), Breach> {
        judge_shape(range, page)?;
        let log = self.logs.entry(partition).or_default();
        let mut shown: Vec<(&Bytes, u64)> = Vec::with_capacity(page.rows.len());
        let mut moment = Moment {
            from: 0,
            until: log.last() + 1,
            without: Vec::new(),
        };
        for (key, row) in page.rows {
            let floor = self.floors.before(partition, key, span.begun);
            let chain = log.chain(key);
            let at = find(log, key, row, range.strong)?;
            let (version, end) = (chain[at].index, end_of(chain, at));
            if range.strong && end <= floor {
                let words = format!(
                    "{} is shown with version {version}, gone at index {end}, \
                     {floor} was known before",
                    key.escape_ascii()
                );
                return Err((Rule::Page, words));
            }
            moment.narrow(version, end);
            if range.strong {
                moment.narrow(floor, u64::MAX);
            }
            shown.push((key, version));
        }
        let mut listed: Vec<&Bytes> = page.rows.iter().map(|(key, _)| key).collect();
        listed.sort_unstable();
        let (from, to) = covered(range.from, range.until, range.reverse, page.rows, page.more);
        for (key, chain) in log.chains_within(from, to) {
            if listed.binary_search(&key).is_ok() {
                continue;
            }
            if range.strong {
                let floor = self.floors.before(partition, key, span.begun);
                let Some(absent) = absent_from(chain, floor) else {
                    let words = format!(
                        "{} is missing, it was there at every index from {floor} on",
                        key.escape_ascii()
                    );
                    return Err((Rule::Page, words));
                };
                moment.narrow(floor, u64::MAX);
                shown.push((key, absent));
            }
            moment.exclude(chain);
        }
        moment.exists()?;
        for (key, index) in shown {
            self.floors.raise(partition, key, span.ended, index);
        }
        Ok(())
    }
}

/// Order, bounds, limit: what needs no log.
fn judge_shape(range: &Range<'_>, page: Page<'_>) -> Result<(), Breach> {
    let broken = |words: String| Err((Rule::Page, words));
    if page.rows.len() > range.limit as usize {
        return broken(format!(
            "{} rows, the limit is {}",
            page.rows.len(),
            range.limit
        ));
    }
    if page.more && page.rows.is_empty() && range.limit > 0 {
        return broken("no row, but there are more".into());
    }
    let is_within =
        |key: &Bytes| key >= range.from && (range.until.is_empty() || key < range.until);
    if let Some((key, _)) = page.rows.iter().find(|(key, _)| !is_within(key)) {
        return broken(format!("{} is out of the range", key.escape_ascii()));
    }
    for pair in page.rows.windows(2) {
        let (first, second) = (&pair[0].0, &pair[1].0);
        let in_order = match range.reverse {
            true => first > second,
            false => first < second,
        };
        if !in_order {
            return broken(format!(
                "{} comes before {}",
                first.escape_ascii(),
                second.escape_ascii()
            ));
        }
    }
    Ok(())
}

/// The part of a range that a page tells all of.
pub(super) fn covered<'a>(
    from: &'a Bytes,
    until: &'a Bytes,
    reverse: bool,
    rows: &'a [(Bytes, Bytes)],
    more: bool,
) -> (Bound<&'a [u8]>, Bound<&'a [u8]>) {
    let first = Bound::Included(&from[..]);
    let behind = match until.is_empty() {
        true => Bound::Unbounded,
        false => Bound::Excluded(&until[..]),
    };
    let nothing = (first, Bound::Excluded(&from[..]));
    if !until.is_empty() && until <= from {
        return nothing;
    }
    match (more, rows.last(), reverse) {
        (false, _, _) => (first, behind),
        (true, None, _) => nothing,
        (true, Some((last, _)), false) => (first, Bound::Included(last)),
        (true, Some((last, _)), true) => (Bound::Included(last), behind),
    }
}

/// The indexes as of which a page may have been made.
struct Moment {
    from: u64,
    /// Exclusive.
    until: u64,
    /// Not as of these, each with its end exclusive.
    without: Vec<(u64, u64)>,
}

impl Moment {
    fn narrow(&mut self, from: u64, until: u64) {
        self.from = self.from.max(from);
        self.until = self.until.min(until);
    }

    /// Not while this row was there.
    fn exclude(&mut self, chain: &[Change]) {
        let first = change_at(chain, self.from).unwrap_or(0);
        for (at, change) in chain.iter().enumerate().skip(first) {
            if change.index >= self.until {
                break;
            }
            if change.row.is_some() {
                self.without.push((change.index, end_of(chain, at)));
            }
        }
    }

    fn exists(mut self) -> Result<(), Breach> {
        self.without.sort_unstable();
        let mut at = self.from;
        for (from, until) in self.without {
            if from > at {
                break;
            }
            at = at.max(until);
        }
        if at < self.until {
            return Ok(());
        }
        let words = format!(
            "no index from {} to before {} has these rows and no others",
            self.from, self.until
        );
        Err((Rule::Moment, words))
    }
}
