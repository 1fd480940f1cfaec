//! The verifier: what was acknowledged, what strong reads saw, and whether the two agree.
//!
//! Every key is written by one writer only, with sequence numbers that rise by one, and a number
//! is written only after the one before was acknowledged. So at any time the row must hold at
//! least the last number that was acknowledged, or that a finished read has seen, and at most the
//! last that was attempted. Pure: knows nothing of sockets and clocks.

/// A key of the ledger: its position in the list of rows that writers own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key(pub(crate) usize);

/// What a strong read that begins now must see at least.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Floor(u64);

/// What a read found: the row's sequence number, zero for a row as it was loaded; `None` if there
/// was no row.
pub(crate) type Observed = Option<u64>;

/// What is wrong with what was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wrong {
    /// Older than what was acknowledged or read before. At the end: an acknowledged write is lost.
    TooOld { least: u64, observed: Observed },
    /// Newer than anything that was ever written.
    FromNowhere { most: u64, observed: u64 },
}

#[derive(Debug, Clone, Copy, Default)]
struct History {
    attempted: u64,
    acknowledged: u64,
    seen: u64,
}

/// The histories of all keys.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    keys: Vec<History>,
    acknowledged_total: u64,
}

impl Ledger {
    pub(crate) fn new(keys: usize) -> Self {
        Self {
            keys: vec![History::default(); keys],
            acknowledged_total: 0,
        }
    }

    /// The number to write next.
    pub(crate) fn attempt(&mut self, key: Key) -> u64 {
        let history = &mut self.keys[key.0];
        assert_eq!(
            history.attempted, history.acknowledged,
            "a writer goes on only after an acknowledgement"
        );
        history.attempted += 1;
        history.attempted
    }

    /// The write of this number was acknowledged.
    pub(crate) fn acknowledge(&mut self, key: Key, sequence: u64) {
        let history = &mut self.keys[key.0];
        assert_eq!(
            history.attempted, sequence,
            "only what was attempted is acknowledged"
        );
        history.acknowledged = sequence;
        self.acknowledged_total += 1;
    }

    /// Writes acknowledged in all.
    pub(crate) fn acknowledged_total(&self) -> u64 {
        self.acknowledged_total
    }

    /// To be asked before a strong read is sent.
    pub(crate) fn read_begins(&self, key: Key) -> Floor {
        let history = self.keys[key.0];
        Floor(history.acknowledged.max(history.seen))
    }

    /// Judges what a strong read found, and remembers it: later reads must not see less.
    pub(crate) fn read_ends(
        &mut self,
        key: Key,
        floor: Floor,
        observed: Observed,
    ) -> Result<(), Wrong> {
        let history = &mut self.keys[key.0];
        judge(floor.0, history.attempted, observed)?;
        history.seen = history.seen.max(observed.unwrap_or(0));
        Ok(())
    }

    /// Judges what is there when all writers have stopped.
    pub(crate) fn at_end(&self, key: Key, observed: Observed) -> Result<(), Wrong> {
        let history = self.keys[key.0];
        judge(
            history.acknowledged.max(history.seen),
            history.attempted,
            observed,
        )
    }
}

fn judge(least: u64, most: u64, observed: Observed) -> Result<(), Wrong> {
    match observed {
        Some(sequence) if sequence > most => Err(Wrong::FromNowhere {
            most,
            observed: sequence,
        }),
        Some(sequence) if sequence >= least => Ok(()),
        // The row was loaded before, so even number zero is a row.
        _ => Err(Wrong::TooOld { least, observed }),
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
        let mut ledger = Ledger::new(1);
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
        let mut ledger = Ledger::new(1);
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
    fn what_nobody_wrote_is_noticed() {
        let mut ledger = Ledger::new(1);
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
        let ledger = Ledger::new(1);
        assert_eq!(ledger.at_end(KEY, Some(0)), Ok(()));
        assert!(ledger.at_end(KEY, None).is_err());
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
        let mut ledger = Ledger::new(KEYS);
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
