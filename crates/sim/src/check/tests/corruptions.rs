//! One damage is done to a clean history; the rule that is about it must notice. Knows nothing of
//! how a history is made.

use std::collections::BTreeMap;

use bytes::Bytes;
use tablestore_dataplane::{Answer, Failure};
use tablestore_placement::Epoch;
use tablestore_replication::{Entry, EntryBody, Outcome};
use tablestore_store::item::codec::split_row;
use tablestore_store::{Condition, Effect, Mutation};

use super::history::{Seen, generate, has_losses, judge, put};
use crate::check::{Asked, Rule, SearchOutcome};
use crate::rng::Chance;

/// A damage; whether the history has a place for it.
type Damage = fn(&mut Vec<Seen>, &mut Chance) -> bool;

/// Does the damage to histories of one client and of several; all must be noticed by the rule.
fn is_noticed(rule: Rule, damage: Damage) {
    let mut done = 0;
    for seed in 0..24 {
        let mut history = generate(seed, 250, 1 + seed as usize % 5);
        if !damage(&mut history, &mut Chance::new(seed + 1_000)) {
            continue;
        }
        done += 1;
        let check = judge(&history);
        let found = check.violation().map(|violation| violation.rule);
        assert_eq!(found, Some(rule), "seed {seed}: {:?}", check.violation());
        let violation = check.violation().unwrap();
        // Without the log, a write that was left open explains much.
        if has_losses(seed) || !is_of_order(rule) {
            continue;
        }
        let verdict = check.search(violation.partition, violation.key.as_ref().unwrap());
        assert_eq!(
            verdict,
            SearchOutcome::NotLinearizable,
            "seed {seed}: {violation}"
        );
    }
    assert!(done >= 7, "the damage was done to {done} histories");
}

/// Whether a breach of the rule shows without the log.
fn is_of_order(rule: Rule) -> bool {
    matches!(rule, Rule::RealTime | Rule::Absence | Rule::ForeignAnswer)
}

/// The places in a history that are so, one of them.
fn place(
    history: &[Seen],
    chance: &mut Chance,
    is_so: impl Fn(usize, &Seen) -> bool,
) -> Option<usize> {
    let places = history.iter().enumerate();
    let places: Vec<usize> = places
        .filter(|(at, seen)| is_so(*at, seen))
        .map(|(at, _)| at)
        .collect();
    chance.pick(&places)
}

fn asked(history: &[Seen], op: usize) -> Asked {
    let asked = |seen: &Seen| match seen {
        Seen::Begin(asked) => Some(asked.clone()),
        _ => None,
    };
    history.iter().filter_map(asked).nth(op).unwrap()
}

fn answer(seen: &Seen) -> Option<(usize, &Answer)> {
    match seen {
        Seen::Ended(op, _, Ok(answer)) => Some((*op, answer)),
        _ => None,
    }
}

/// The answer to a strong read of one row: its key, and the row's version, 0 for none.
fn strong_read(history: &[Seen], seen: &Seen) -> Option<(Bytes, u64)> {
    let (op, Answer::Row(row)) = answer(seen)? else {
        return None;
    };
    match asked(history, op) {
        Asked::Get {
            key, strong: true, ..
        } => Some((key, row.as_ref().map_or(0, |row| split_row(row).unwrap().0))),
        _ => None,
    }
}

/// Where the attempt began that is answered at `at`.
fn begun(history: &[Seen], at: usize) -> usize {
    let Seen::Ended(_, attempt, _) = history[at] else {
        return at;
    };
    let attempts = (0..at).filter(|at| matches!(history[*at], Seen::Attempt(_)));
    attempts.into_iter().nth(attempt).unwrap()
}

/// The versions of a row that answered writes and strong reads showed before a place.
fn shown_before(history: &[Seen], key: &Bytes, at: usize) -> Vec<u64> {
    let version = |seen: &Seen| {
        let (op, answer) = answer(seen)?;
        match (asked(history, op), answer) {
            (Asked::Write { key: of, .. }, Answer::Written { code, version, .. })
                if *code == Effect::Done.number() && of == *key && *version > 0 =>
            {
                Some(*version)
            }
            _ => strong_read(history, seen)
                .filter(|(of, version)| of == key && *version > 0)
                .map(|(_, version)| version),
        }
    };
    history[..at].iter().filter_map(version).collect()
}

fn replace(history: &mut [Seen], at: usize, with: Answer) {
    if let Seen::Ended(_, _, result) = &mut history[at] {
        *result = Ok(with);
    }
}

fn swap_answers(history: &mut [Seen], one: usize, other: usize) -> bool {
    let (Seen::Ended(_, _, Ok(first)), Seen::Ended(_, _, Ok(second))) =
        (history[one].clone(), history[other].clone())
    else {
        return false;
    };
    replace(history, one, second);
    replace(history, other, first);
    true
}

#[test]
fn two_swapped_answers_to_writes() {
    is_noticed(Rule::Acknowledged, |history, chance| {
        let is_put = |seen: &Seen| {
            let (_, Answer::Written { code, version, .. }) = answer(seen)? else {
                return None;
            };
            (*code == Effect::Done.number() && *version > 0).then_some(*version)
        };
        let Some(one) = place(history, chance, |_, seen| is_put(seen).is_some()) else {
            return false;
        };
        let version = is_put(&history[one]);
        let other = place(history, chance, |_, seen| {
            is_put(seen).is_some_and(|of| Some(of) != version)
        });
        other.is_some_and(|other| swap_answers(history, one, other))
    });
}

#[test]
fn an_answer_of_another_row() {
    is_noticed(Rule::ForeignAnswer, |history, chance| {
        let row_at = |history: &[Seen], seen: &Seen| {
            strong_read(history, seen).filter(|(_, version)| *version > 0)
        };
        let later = place(history, chance, |_, seen| row_at(history, seen).is_some());
        let Some(later) = later else { return false };
        let (key, _) = row_at(history, &history[later]).unwrap();
        let earlier = place(history, chance, |at, seen| {
            at < later && row_at(history, seen).is_some_and(|(of, _)| of != key)
        });
        let Some(earlier) = earlier else { return false };
        let row = answer(&history[earlier]).unwrap().1.clone();
        replace(history, later, row);
        true
    });
}

/// An entry without a client in its place, so that the indexes stay.
fn time_at(index: u64) -> Seen {
    Seen::Applied(0, vec![Entry::time(Epoch(1), index, index)], Vec::new())
}

#[test]
fn an_acknowledged_write_that_is_not_in_the_log() {
    is_noticed(Rule::Acknowledged, |history, chance| {
        let at = place(history, chance, |at, seen| {
            let next = history.get(at + 1).and_then(answer);
            matches!(seen, Seen::Applied(0, ..))
                && matches!(next, Some((_, Answer::Written { .. })))
                && matches!((&history[at - 1], &history[at + 1]),
                    (Seen::Appended(one, _), Seen::Ended(_, other, _)) if one == other)
        });
        let Some(at) = at else { return false };
        let Seen::Applied(_, entries, _) = &history[at] else {
            return false;
        };
        history[at] = time_at(entries[0].index);
        true
    });
}

#[test]
fn a_write_with_the_version_of_another_index() {
    is_noticed(Rule::Acknowledged, |history, chance| {
        let is_write = |_, seen: &Seen| matches!(answer(seen), Some((_, Answer::Written { .. })));
        let Some(at) = place(history, chance, is_write) else {
            return false;
        };
        if let Seen::Ended(_, _, Ok(Answer::Written { version, .. })) = &mut history[at] {
            *version += 1;
        }
        true
    });
}

#[test]
fn an_index_that_moved() {
    is_noticed(Rule::Gap, |history, chance| {
        let is_applied = |_, seen: &Seen| matches!(seen, Seen::Applied(0, ..));
        let Some(at) = place(history, chance, is_applied) else {
            return false;
        };
        if let Seen::Applied(_, entries, outcomes) = &mut history[at] {
            entries[0].index += 1;
            outcomes[0].0 += 1;
        }
        true
    });
}

#[test]
fn an_entry_that_is_not_what_was_sent() {
    is_noticed(Rule::Unasked, |history, chance| {
        let is_applied = |_, seen: &Seen| matches!(seen, Seen::Applied(0, ..));
        let Some(at) = place(history, chance, is_applied) else {
            return false;
        };
        let Seen::Applied(_, entries, outcomes) = &mut history[at] else {
            return false;
        };
        let EntryBody::Write {
            request, digest, ..
        } = entries[0].body()
        else {
            return false;
        };
        let index = entries[0].index;
        let key = Bytes::from_static(b"key-77");
        let payload = put(&key, 1, Condition::None).encode();
        entries[0] = Entry::write(Epoch(1), index, index, request, digest, &payload);
        outcomes[0].1 = Outcome {
            code: Effect::Done.number(),
            version: index,
        };
        true
    });
}

#[test]
fn a_stale_read() {
    is_noticed(Rule::RealTime, |history, chance| {
        let older = |at: usize, key: &Bytes| {
            let newest = shown_before(history, key, begun(history, at));
            let newest = newest.into_iter().max().unwrap_or(0);
            (0..at).find(|before| {
                strong_read(history, &history[*before])
                    .is_some_and(|(of, version)| of == *key && 0 < version && version < newest)
            })
        };
        let at = place(history, chance, |at, seen| {
            strong_read(history, seen).is_some_and(|(key, _)| older(at, &key).is_some())
        });
        let Some(at) = at else { return false };
        let (key, _) = strong_read(history, &history[at]).unwrap();
        let row = answer(&history[older(at, &key).unwrap()])
            .unwrap()
            .1
            .clone();
        replace(history, at, row);
        true
    });
}

#[test]
fn a_row_that_is_told_to_be_absent() {
    is_noticed(Rule::Absence, |history, chance| {
        let at = place(history, chance, |at, seen| {
            let begun = begun(history, at);
            let is_quiet = |seen: &Seen| !matches!(seen, Seen::Applied(..));
            strong_read(history, seen).is_some_and(|(key, version)| {
                history[begun..at].iter().all(is_quiet)
                    && shown_before(history, &key, begun).contains(&version)
            })
        });
        let Some(at) = at else { return false };
        replace(history, at, Answer::Row(None));
        true
    });
}

#[test]
fn a_lost_update() {
    is_noticed(Rule::Replay, |history, chance| {
        let failed = Effect::ConditionFailed.number();
        let at = place(
            history,
            chance,
            |_, seen| matches!(seen, Seen::Applied(0, _, outcomes) if outcomes[0].1.code == failed),
        );
        let Some(at) = at else { return false };
        if let Seen::Applied(_, _, outcomes) = &mut history[at] {
            let version = outcomes[0].0;
            outcomes[0].1 = Outcome {
                code: Effect::Done.number(),
                version,
            };
        }
        true
    });
}

#[test]
fn an_eventual_read_of_the_future() {
    is_noticed(Rule::Eventual, |history, chance| {
        let at = place(history, chance, |_, seen| {
            let Some((op, Answer::Row(Some(_)))) = answer(seen) else {
                return false;
            };
            matches!(asked(history, op), Asked::Get { strong: false, .. })
        });
        let Some(at) = at else { return false };
        let mut row = u64::to_le_bytes(1 << 40).to_vec();
        row.push(0);
        replace(history, at, Answer::Row(Some(row.into())));
        true
    });
}

fn with_page(
    history: &mut [Seen],
    chance: &mut Chance,
    strong: bool,
    change: impl Fn(&mut Vec<(Bytes, Bytes)>),
) -> bool {
    let at = place(history, chance, |_, seen| {
        let Some((op, Answer::Page { rows, .. })) = answer(seen) else {
            return false;
        };
        let is_strong = matches!(asked(history, op), Asked::Scan { strong: true, .. });
        is_strong == strong && rows.len() > 2
    });
    let Some(at) = at else { return false };
    if let Seen::Ended(_, _, Ok(Answer::Page { rows, .. })) = &mut history[at] {
        change(rows);
    }
    true
}

#[test]
fn a_page_with_a_row_twice() {
    for strong in [true, false] {
        let damage: Damage = match strong {
            true => {
                |history, chance| with_page(history, chance, true, |rows| rows[1] = rows[0].clone())
            }
            false => |history, chance| {
                with_page(history, chance, false, |rows| rows[1] = rows[0].clone())
            },
        };
        is_noticed(Rule::Page, damage);
    }
}

#[test]
fn a_page_out_of_order() {
    is_noticed(Rule::Page, |history, chance| {
        with_page(history, chance, true, |rows| rows.swap(0, 1))
    });
}

#[test]
fn a_page_that_misses_a_row() {
    is_noticed(Rule::Page, |history, chance| {
        let missable = |at: usize, seen: &Seen| {
            let (op, Answer::Page { rows, .. }) = answer(seen)? else {
                return None;
            };
            let Asked::Scan { strong: true, .. } = asked(history, op) else {
                return None;
            };
            let rows = &rows[..rows.len().saturating_sub(1)];
            rows.iter().position(|(key, row)| {
                let version = split_row(row).unwrap().0;
                shown_before(history, key, begun(history, at)).contains(&version)
            })
        };
        let at = place(history, chance, |at, seen| missable(at, seen).is_some());
        let Some(at) = at else { return false };
        let row = missable(at, &history[at]).unwrap();
        if let Seen::Ended(_, _, Ok(Answer::Page { rows, .. })) = &mut history[at] {
            rows.remove(row);
        }
        true
    });
}

#[test]
fn a_page_over_its_limit() {
    is_noticed(Rule::Page, |history, chance| {
        let at = place(history, chance, |_, seen| {
            let Some((op, Answer::Page { rows, .. })) = answer(seen) else {
                return false;
            };
            matches!(asked(history, op), Asked::Scan { limit, .. }
                if limit > 1 && rows.len() == limit as usize)
        });
        let Some(at) = at else { return false };
        let (op, _) = answer(&history[at]).unwrap();
        let begins = history
            .iter_mut()
            .filter(|seen| matches!(seen, Seen::Begin(_)));
        if let Some(Seen::Begin(Asked::Scan { limit, .. })) = begins.into_iter().nth(op) {
            *limit -= 1;
        }
        true
    });
}

/// A write that was acknowledged is said to be not applied after all.
fn refuse_an_applied(history: &mut [Seen], chance: &mut Chance) -> bool {
    let mut attempts: BTreeMap<usize, usize> = BTreeMap::new();
    for seen in history.iter() {
        if let Seen::Attempt(op) = seen {
            *attempts.entry(*op).or_default() += 1;
        }
    }
    let at = place(history, chance, |_, seen| {
        let Some((op, Answer::Written { .. })) = answer(seen) else {
            return false;
        };
        attempts[&op] == 1
    });
    let Some(at) = at else { return false };
    if let Seen::Ended(_, _, result) = &mut history[at] {
        *result = Err(Failure::NotEnoughReplicas);
    }
    true
}

#[test]
fn a_write_that_is_refused_and_applied() {
    is_noticed(Rule::NotApplied, |history, chance| {
        refuse_an_applied(history, chance)
    });
    is_noticed(Rule::NotApplied, |history, chance| {
        history.retain(|seen| !matches!(seen, Seen::Appended(..)));
        refuse_an_applied(history, chance)
    });
}

#[test]
fn an_attempt_that_is_refused_and_applied_while_another_was_lost() {
    is_noticed(Rule::NotApplied, |history, chance| {
        let lost = place(history, chance, |at, seen| {
            let Seen::Lost(lost) = seen else { return false };
            history[..at]
                .iter()
                .any(|seen| matches!(seen, Seen::Appended(attempt, _) if attempt == lost))
        });
        let Some(lost) = lost else { return false };
        let Seen::Lost(attempt) = history[lost] else {
            return false;
        };
        let attempts = history.iter().filter_map(|seen| match seen {
            Seen::Attempt(op) => Some(*op),
            _ => None,
        });
        let op = attempts.into_iter().nth(attempt).unwrap();
        history[lost] = Seen::Ended(op, attempt, Err(Failure::NotHere));
        true
    });
}

/// Puts an entry behind the last that the first replica applied.
fn add_entry(history: &mut Vec<Seen>, entry: Entry, outcome: Outcome) {
    let last = history
        .iter()
        .rposition(|seen| matches!(seen, Seen::Applied(0, ..)));
    let index = entry.index;
    let added = Seen::Applied(0, vec![entry], vec![(index, outcome)]);
    history.insert(last.unwrap() + 1, added);
}

#[test]
fn a_request_that_takes_effect_twice() {
    is_noticed(Rule::OneEffect, |history, chance| {
        let mut last = 0;
        let mut puts = Vec::new();
        for seen in history.iter() {
            let Seen::Applied(0, entries, _) = seen else {
                continue;
            };
            last = entries[0].index;
            let mutation = Mutation::decode(&entries[0].payload().unwrap()).unwrap();
            if let Mutation::Put {
                condition: Condition::None,
                ..
            } = mutation
            {
                puts.push(last);
            }
        }
        let index = chance.pick(&puts).unwrap();
        let again = history.iter().find_map(|seen| match seen {
            Seen::Applied(0, entries, _) if entries[0].index == index => Some(entries[0].clone()),
            _ => None,
        });
        let mut again = again.unwrap();
        again.index = last + 1;
        let outcome = Outcome {
            code: Effect::Done.number(),
            version: last + 1,
        };
        add_entry(history, again, outcome);
        true
    });
}

#[test]
fn two_first_answers_to_one_request() {
    is_noticed(Rule::OneEffect, |history, chance| {
        let is_first = |_, seen: &Seen| {
            matches!(
                answer(seen),
                Some((
                    _,
                    Answer::Written {
                        repeated: false,
                        ..
                    }
                ))
            )
        };
        let Some(at) = place(history, chance, is_first) else {
            return false;
        };
        history.insert(at, history[at].clone());
        true
    });
}

#[test]
fn a_replica_that_applies_something_else() {
    is_noticed(Rule::Agreement, |history, chance| {
        let applied = history
            .iter_mut()
            .find(|seen| matches!(seen, Seen::Applied(1, ..)));
        let Some(Seen::Applied(_, entries, outcomes)) = applied else {
            return false;
        };
        let at = chance.below(entries.len() as u64) as usize;
        match chance.below(3) {
            0 => entries[at].epoch = Epoch(2),
            1 => entries[at] = Entry::time(Epoch(1), entries[at].index, 7),
            _ => outcomes[at].1.version += 1,
        }
        true
    });
}

/// Changes what a replica holds at rest.
fn with_rest(history: &mut [Seen], change: impl FnOnce(&mut Vec<(Bytes, Bytes)>)) -> bool {
    let rest = history
        .iter_mut()
        .find(|seen| matches!(seen, Seen::Rest(1, ..)));
    match rest {
        Some(Seen::Rest(_, _, rows, _)) if !rows.is_empty() => {
            change(rows);
            true
        }
        _ => false,
    }
}

#[test]
fn replicas_that_differ_at_rest() {
    is_noticed(Rule::Copies, |history, chance| {
        let number = chance.below(100);
        with_rest(history, |rows| {
            let at = number as usize % rows.len();
            let mut row = rows[at].1.to_vec();
            row[0] ^= 1;
            rows[at].1 = row.into();
        })
    });
}

#[test]
fn a_copy_that_lacks_a_row_or_has_one_too_many() {
    is_noticed(Rule::Copies, |history, _| {
        with_rest(history, |rows| _ = rows.pop())
    });
    is_noticed(Rule::Copies, |history, _| {
        with_rest(history, |rows| {
            let row = rows[0].1.clone();
            rows.push((Bytes::from_static(b"key-99"), row));
        })
    });
}

#[test]
fn a_replica_that_forgot_a_request() {
    is_noticed(Rule::Copies, |history, chance| {
        let rest = history
            .iter_mut()
            .find(|seen| matches!(seen, Seen::Rest(2, ..)));
        let Some(Seen::Rest(_, _, _, remembered)) = rest else {
            return false;
        };
        let at = chance.below(remembered.len() as u64) as usize;
        match chance.happens(500) {
            true => _ = remembered.remove(at),
            false => remembered[at].outcome.code += 1,
        }
        true
    });
}

#[test]
fn a_replica_that_is_not_complete_at_rest() {
    is_noticed(Rule::Copies, |history, _| {
        for seen in history.iter_mut() {
            match seen {
                Seen::Applied(2, entries, outcomes) => {
                    entries.pop();
                    outcomes.pop();
                }
                Seen::Rest(2, applied, _, _) => *applied -= 1,
                _ => {}
            }
        }
        true
    });
}
