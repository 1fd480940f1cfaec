//! The ledger: what was acknowledged, what strong reads saw, and whether the two agree.
//!
//! Every key is written by one writer only, with sequence numbers that rise by one, and a number
//! is written only after the one before was acknowledged or certainly not applied. So at any time
//! the row must hold at least the last number that was acknowledged, or that a finished read has
//! seen, at most the last that was attempted, and none that was answered `not_applied`. A write
//! whose outcome is unknown stays open: it is repeated with the same request id, or its key rests.
//!
//! Pure: knows nothing of sockets and clocks, and believes nobody.

use std::collections::BTreeSet;
use std::fmt;

/// Numbers that were not applied are remembered up to this many a key, the latest ones. Older ones
/// lie far below what was acknowledged since, and are found as too old.
const NOT_APPLIED_KEPT: usize = 1000;

/// A key of the ledger: its position in the list of rows that writers own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key(pub usize);

/// What a strong read that begins now must see at least.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Floor(u64);

/// What a read found: the row's sequence number, zero for a row as it was before any writer wrote
/// it; `None` if there was no row.
pub type Observed = Option<u64>;

/// What is wrong with what was found. Shown, it is a phrase without the name of the row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Wrong {
    /// Older than what was acknowledged or read before. At the end: an acknowledged write is lost.
    TooOld {
        /// The least number that had to be there.
        least: u64,
        /// What was there.
        observed: Observed,
    },
    /// Newer than anything that was ever written.
    FromNowhere {
        /// The last number that was attempted.
        most: u64,
        /// What was there.
        observed: u64,
    },
    /// A write that was answered `not_applied` is there nevertheless.
    NotApplied {
        /// Its number.
        observed: u64,
    },
}

impl Wrong {
    /// How many writes are lost if this is what was found at the end; at least one.
    #[must_use]
    pub fn writes(self) -> u64 {
        match self {
            Self::TooOld { least, observed } => least.saturating_sub(observed.unwrap_or(0)).max(1),
            Self::FromNowhere { .. } | Self::NotApplied { .. } => 1,
        }
    }
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooOld {
                least,
                observed: Some(observed),
            } => write!(
                f,
                "write {least} was acknowledged, but write {observed} is there"
            ),
            Self::TooOld {
                least,
                observed: None,
            } => write!(f, "write {least} was acknowledged, but there is no row"),
            Self::FromNowhere { most, observed } => {
                write!(f, "write {observed} is there, but only {most} were made")
            }
            Self::NotApplied { observed } => {
                write!(f, "write {observed} was not applied, but it is there")
            }
        }
    }
}

/// The history of one key.
#[derive(Debug, Clone, Default)]
struct History {
    attempted: u64,
    /// The last attempt has neither been acknowledged nor certainly not applied.
    open: bool,
    acknowledged: u64,
    seen: u64,
    not_applied: BTreeSet<u64>,
}

/// The histories of all keys. Whoever calls it out of order (see the methods) has a bug of its own,
/// and is told so by a panic.
#[derive(Debug, Clone)]
pub struct Ledger {
    keys: Vec<History>,
    /// All rows were there before the first write, so that a row that is missing is lost.
    loaded: bool,
    /// What was read without having been acknowledged may be missing for a while.
    converges: bool,
    acknowledged_total: u64,
}

impl Ledger {
    /// So many keys whose rows have been loaded before.
    #[must_use]
    pub fn loaded(keys: usize) -> Self {
        Self {
            keys: vec![History::default(); keys],
            loaded: true,
            converges: false,
            acknowledged_total: 0,
        }
    }

    /// So many keys without rows.
    #[must_use]
    pub fn absent(keys: usize) -> Self {
        Self {
            loaded: false,
            ..Self::loaded(keys)
        }
    }

    /// For rows whose copies converge, as those of quorums do: a read must see what was
    /// acknowledged before it began, but what another read has seen of a write under way may not
    /// be there yet for the next. Writes are carried out at least once: one that was left without
    /// an answer and repeated may yet be carried out again, over a later one of its key.
    #[must_use]
    pub fn converging(self) -> Self {
        Self {
            converges: true,
            ..self
        }
    }

    /// See [`converging`](Self::converging).
    #[must_use]
    pub fn converges(&self) -> bool {
        self.converges
    }

    /// How many keys there are.
    #[must_use]
    pub fn keys(&self) -> usize {
        self.keys.len()
    }

    /// The number to write next.
    ///
    /// # Panics
    /// When the outcome of the last write of this key is open.
    pub fn attempt(&mut self, key: Key) -> u64 {
        let history = &mut self.keys[key.0];
        assert!(
            !history.open,
            "a writer goes on only after an acknowledgement"
        );
        history.attempted += 1;
        history.open = true;
        history.attempted
    }

    /// The write of this number was acknowledged.
    ///
    /// # Panics
    /// When it is not the write under way.
    pub fn acknowledge(&mut self, key: Key, sequence: u64) {
        let history = &mut self.keys[key.0];
        history.close(sequence);
        history.acknowledged = sequence;
        self.acknowledged_total += 1;
    }

    /// The write of this number has certainly not been applied: each attempt at it was answered so
    /// or was never sent. From now on it must not appear.
    ///
    /// # Errors
    /// When a read has seen it already.
    ///
    /// # Panics
    /// When it is not the write under way.
    pub fn not_applied(&mut self, key: Key, sequence: u64) -> Result<(), Wrong> {
        let history = &mut self.keys[key.0];
        history.close(sequence);
        history.not_applied.insert(sequence);
        if history.not_applied.len() > NOT_APPLIED_KEPT {
            history.not_applied.pop_first();
        }
        if history.seen >= sequence {
            return Err(Wrong::NotApplied { observed: sequence });
        }
        Ok(())
    }

    /// Writes acknowledged in all.
    #[must_use]
    pub fn acknowledged_total(&self) -> u64 {
        self.acknowledged_total
    }

    /// To be asked before a strong read is sent.
    #[must_use]
    pub fn read_begins(&self, key: Key) -> Floor {
        Floor(self.least(key))
    }

    /// Judges what a strong read found, and remembers it: later reads must not see less.
    ///
    /// # Errors
    /// When it cannot be what a linearizable row holds.
    pub fn read_ends(&mut self, key: Key, floor: Floor, observed: Observed) -> Result<(), Wrong> {
        let loaded = self.loaded;
        let history = &mut self.keys[key.0];
        history.judge(floor.0, loaded, observed)?;
        history.seen = history.seen.max(observed.unwrap_or(0));
        Ok(())
    }

    /// Judges what is there when all writers have stopped.
    ///
    /// # Errors
    /// When something acknowledged is lost, or something is there that must not be.
    pub fn at_end(&self, key: Key, observed: Observed) -> Result<(), Wrong> {
        let history = &self.keys[key.0];
        history.judge(self.least(key), self.loaded, observed)
    }

    fn least(&self, key: Key) -> u64 {
        let history = &self.keys[key.0];
        match self.converges {
            true => history.acknowledged,
            false => history.acknowledged.max(history.seen),
        }
    }
}

impl History {
    fn close(&mut self, sequence: u64) {
        assert!(
            self.open && self.attempted == sequence,
            "only what was attempted has an outcome"
        );
        self.open = false;
    }

    fn judge(&self, least: u64, loaded: bool, observed: Observed) -> Result<(), Wrong> {
        match observed {
            Some(sequence) if sequence > self.attempted => Err(Wrong::FromNowhere {
                most: self.attempted,
                observed: sequence,
            }),
            Some(sequence) if self.not_applied.contains(&sequence) => {
                Err(Wrong::NotApplied { observed: sequence })
            }
            Some(sequence) if sequence >= least => Ok(()),
            None if least == 0 && !loaded => Ok(()),
            // A loaded row was there before, so even number zero is a row.
            _ => Err(Wrong::TooOld { least, observed }),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail by panic")]
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    use super::*;

    const KEY: Key = Key(0);

    #[test]
    fn a_read_begun_after_an_acknowledgement_must_see_it() {
        let mut ledger = Ledger::loaded(1);
        let first = ledger.attempt(KEY);
        let early = ledger.read_begins(KEY);
        ledger.acknowledge(KEY, first);
        let late = ledger.read_begins(KEY);
        assert_eq!(ledger.read_ends(KEY, early, Some(0)), Ok(()));
        assert_eq!(
            ledger.read_ends(KEY, late, Some(0)),
            Err(Wrong::TooOld {
                least: 1,
                observed: Some(0)
            })
        );
        assert_eq!(
            ledger.read_ends(KEY, late, None),
            Err(Wrong::TooOld {
                least: 1,
                observed: None
            })
        );
    }

    #[test]
    fn l08_reads_never_go_back_in_time_even_over_writes_that_were_not_acknowledged() {
        let mut ledger = Ledger::loaded(1);
        ledger.attempt(KEY);
        let floor = ledger.read_begins(KEY);
        assert_eq!(ledger.read_ends(KEY, floor, Some(1)), Ok(()));
        let floor = ledger.read_begins(KEY);
        assert!(ledger.read_ends(KEY, floor, Some(0)).is_err());
        assert!(
            ledger.at_end(KEY, Some(0)).is_err(),
            "what was read must stay"
        );
    }

    #[test]
    fn copies_that_converge_may_show_a_write_under_way_and_then_not_but_never_lose_one() {
        let mut ledger = Ledger::absent(1).converging();
        let first = ledger.attempt(KEY);
        ledger.acknowledge(KEY, first);
        ledger.attempt(KEY);
        for observed in [2, 1] {
            let floor = ledger.read_begins(KEY);
            assert_eq!(ledger.read_ends(KEY, floor, Some(observed)), Ok(()));
        }
        assert_eq!(ledger.at_end(KEY, Some(1)), Ok(()));
        let lost = Err(Wrong::TooOld {
            least: 1,
            observed: None,
        });
        let floor = ledger.read_begins(KEY);
        assert_eq!(ledger.read_ends(KEY, floor, None), lost);
        assert_eq!(ledger.at_end(KEY, None), lost);
    }

    #[test]
    fn what_nobody_wrote_is_noticed() {
        let mut ledger = Ledger::loaded(1);
        ledger.attempt(KEY);
        let floor = ledger.read_begins(KEY);
        let wrong = Wrong::FromNowhere {
            most: 1,
            observed: 2,
        };
        assert_eq!(ledger.read_ends(KEY, floor, Some(2)), Err(wrong));
        assert_eq!(ledger.at_end(KEY, Some(2)), Err(wrong));
    }

    #[test]
    fn a_loaded_row_that_vanished_is_lost() {
        let ledger = Ledger::loaded(1);
        assert_eq!(ledger.at_end(KEY, Some(0)), Ok(()));
        assert!(ledger.at_end(KEY, None).is_err());
    }

    #[test]
    fn a_row_that_nobody_loaded_may_be_missing_until_a_write_is_acknowledged() {
        let mut ledger = Ledger::absent(1);
        assert_eq!(ledger.at_end(KEY, None), Ok(()));
        let first = ledger.attempt(KEY);
        assert_eq!(ledger.at_end(KEY, None), Ok(()));
        ledger.acknowledge(KEY, first);
        assert_eq!(
            ledger.at_end(KEY, None),
            Err(Wrong::TooOld {
                least: 1,
                observed: None
            })
        );
    }

    #[test]
    fn a_write_that_was_not_applied_must_not_appear_and_the_writer_goes_on() {
        let mut ledger = Ledger::loaded(1);
        let first = ledger.attempt(KEY);
        assert_eq!(ledger.not_applied(KEY, first), Ok(()));
        let floor = ledger.read_begins(KEY);
        let wrong = Wrong::NotApplied { observed: 1 };
        assert_eq!(ledger.read_ends(KEY, floor, Some(1)), Err(wrong));
        assert_eq!(ledger.at_end(KEY, Some(1)), Err(wrong));
        assert_eq!(ledger.at_end(KEY, Some(0)), Ok(()));

        let second = ledger.attempt(KEY);
        ledger.acknowledge(KEY, second);
        assert_eq!(ledger.at_end(KEY, Some(2)), Ok(()));
        // A read that began before the second write may not see the first either.
        assert_eq!(ledger.read_ends(KEY, floor, Some(1)), Err(wrong));
    }

    #[test]
    fn a_write_that_was_read_cannot_be_answered_as_not_applied() {
        let mut ledger = Ledger::loaded(1);
        let first = ledger.attempt(KEY);
        let floor = ledger.read_begins(KEY);
        assert_eq!(ledger.read_ends(KEY, floor, Some(1)), Ok(()));
        assert_eq!(
            ledger.not_applied(KEY, first),
            Err(Wrong::NotApplied { observed: 1 })
        );
    }

    #[test]
    fn what_is_wrong_is_told_in_words_and_counted() {
        let told = |wrong: Wrong| (wrong.to_string(), wrong.writes());
        let old = |observed| Wrong::TooOld { least: 5, observed };
        assert_eq!(
            told(old(Some(2))),
            (
                "write 5 was acknowledged, but write 2 is there".to_owned(),
                3
            )
        );
        assert_eq!(
            told(old(None)),
            (
                "write 5 was acknowledged, but there is no row".to_owned(),
                5
            )
        );
        let most = Wrong::FromNowhere {
            most: 5,
            observed: 9,
        };
        assert_eq!(
            told(most),
            ("write 9 is there, but only 5 were made".to_owned(), 1)
        );
        assert_eq!(
            told(Wrong::NotApplied { observed: 4 }),
            ("write 4 was not applied, but it is there".to_owned(), 1)
        );
    }

    /// A register per key with one writer and a reader, and the faults that a store could have.
    struct Store {
        values: Vec<u64>,
        random: StdRng,
    }

    /// Runs a history; a fault is planted at a random step after the middle. Tells whether a loss
    /// and a stale read were found; `None` if there was nothing to plant the fault in.
    fn run(seed: u64, lose: bool, stale: bool) -> Option<(bool, bool)> {
        const KEYS: usize = 5;
        const STEPS: usize = 400;
        let mut random = StdRng::seed_from_u64(seed);
        let planted = random.random_range(STEPS / 2..STEPS - 50);
        let mut store = Store {
            values: vec![0; KEYS],
            random,
        };
        let mut ledger = Ledger::loaded(KEYS);
        let mut open: Vec<Option<u64>> = vec![None; KEYS];
        let mut found_stale = false;
        let mut victim = None;
        for step in 0..STEPS {
            let key = store.random.random_range(0..KEYS);
            if step == planted {
                let chosen = (0..KEYS).find(|k| store.values[*k] > 0 && open[*k].is_none())?;
                let old = store.values[chosen] - 1;
                if lose {
                    store.values[chosen] = old;
                }
                if stale {
                    let floor = ledger.read_begins(Key(chosen));
                    found_stale |= ledger.read_ends(Key(chosen), floor, Some(old)).is_err();
                }
                victim = Some(chosen);
                continue;
            }
            // After a loss its key rests, so that no later write covers it up.
            if lose && victim == Some(key) {
                continue;
            }
            match (store.random.random_range(0..4), open[key]) {
                (0 | 1, None) => {
                    let sequence = ledger.attempt(Key(key));
                    // It may take effect now or not before it is acknowledged.
                    if store.random.random_bool(0.5) {
                        store.values[key] = sequence;
                    }
                    open[key] = Some(sequence);
                }
                (0 | 1, Some(sequence)) => {
                    store.values[key] = sequence;
                    ledger.acknowledge(Key(key), sequence);
                    open[key] = None;
                }
                _ => {
                    let floor = ledger.read_begins(Key(key));
                    let observed = Some(store.values[key]);
                    found_stale |= ledger.read_ends(Key(key), floor, observed).is_err();
                }
            }
        }
        let found_lost =
            (0..KEYS).any(|key| ledger.at_end(Key(key), Some(store.values[key])).is_err());
        Some((found_lost, found_stale))
    }

    #[test]
    fn planted_faults_are_found_and_correct_histories_pass() {
        let mut planted = 0;
        for seed in 0..500 {
            let Some(clean) = run(seed, false, false) else {
                continue;
            };
            planted += 1;
            assert_eq!(clean, (false, false), "seed {seed}");
            assert_eq!(
                run(seed, true, false),
                Some((true, false)),
                "seed {seed}: a lost write"
            );
            assert_eq!(
                run(seed, false, true),
                Some((false, true)),
                "seed {seed}: a stale read"
            );
        }
        assert!(
            planted > 400,
            "{planted} of 500 histories had room for a fault"
        );
    }
}
