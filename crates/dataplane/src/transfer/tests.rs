//! What a network may do to a copy, and what must come of it.

#![allow(clippy::unwrap_used, reason = "a test may fail by panic")]

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::settings::Settings;

const T0: Duration = Duration::ZERO;

fn pairs(numbers: std::ops::Range<u32>) -> Pairs {
    numbers
        .map(|n| {
            (
                Bytes::from(format!("row{n:04}")),
                Bytes::from(format!("{n}")),
            )
        })
        .collect()
}

/// A copy of ten rows a chunk.
fn chunks(count: u32) -> Vec<Chunk> {
    let mut outgoing = Outgoing::new(T0, &Settings::default());
    let mut chunks = Vec::new();
    for at in 0..count {
        assert!(outgoing.has_room());
        chunks.push(outgoing.chunk(T0, pairs(at * 10..at * 10 + 10), at + 1 == count));
        outgoing.acked(T0, u64::from(at) + 1).unwrap();
    }
    chunks
}

/// Hands chunks over and stores each at once.
fn receive(chunks: impl IntoIterator<Item = Chunk>) -> Result<(Pairs, bool), Ended> {
    let (mut incoming, mut stored, mut complete) =
        (Incoming::new(T0, &Settings::default()), Vec::new(), false);
    for chunk in chunks {
        incoming.came(T0, chunk)?;
        stored.extend(incoming.next_to_store().unwrap());
        complete = incoming.stored(T0).complete;
    }
    Ok((stored, complete))
}

#[test]
fn l25_a_copy_is_complete_with_its_last_chunk_and_not_before() {
    let sent = chunks(5);
    assert_eq!(receive(sent.clone()), Ok((pairs(0..50), true)));
    assert_eq!(receive(sent[..4].to_vec()), Ok((pairs(0..40), false)));
    let empty = Outgoing::new(T0, &Settings::default()).chunk(T0, Vec::new(), true);
    assert_eq!(receive([empty]), Ok((Vec::new(), true)));
}

#[test]
fn l25_a_copy_that_lost_repeated_or_reordered_a_chunk_is_nothing() {
    let sent = chunks(5);
    for lost in 0..4 {
        let mut some = sent.clone();
        some.remove(lost);
        assert_eq!(receive(some), Err(Ended::Gap), "without chunk {lost}");
    }
    for at in 0..4 {
        let mut some = sent.clone();
        some.swap(at, at + 1);
        assert_eq!(receive(some), Err(Ended::Gap), "swapped at {at}");
        let mut some = sent.clone();
        some.insert(at, sent[at].clone());
        assert_eq!(receive(some), Err(Ended::Gap), "twice {at}");
    }
}

#[test]
fn l25_chunks_of_another_copy_make_the_whole_differ() {
    let mut sent = chunks(5);
    sent[2].pairs[3].1 = Bytes::from_static(b"of another sender");
    assert_eq!(receive(sent), Err(Ended::Differs));
    let mut sent = chunks(5);
    sent[1].pairs.pop();
    assert_eq!(receive(sent), Err(Ended::Differs));
}

#[test]
fn nothing_is_taken_behind_the_last_chunk() {
    let mut sent = chunks(3);
    sent.push(Chunk {
        number: 4,
        pairs: pairs(0..1),
        totals: None,
    });
    assert_eq!(receive(sent), Err(Ended::Gap));
}

#[test]
fn a_sender_waits_behind_the_window_and_a_receiver_takes_no_more_than_it() {
    let (mut outgoing, mut incoming) = (
        Outgoing::new(T0, &Settings::default()),
        Incoming::new(T0, &Settings::default()),
    );
    for at in 0..crate::settings::WINDOW_CHUNKS as u32 {
        assert!(outgoing.has_room());
        let chunk = outgoing.chunk(T0, pairs(at..at + 1), false);
        incoming.came(T0, chunk).unwrap();
    }
    assert!(!outgoing.has_room());
    let beyond = outgoing.chunk(T0, pairs(9..10), false);
    assert_eq!(incoming.came(T0, beyond), Err(Ended::Gap));
    assert!(incoming.next_to_store().is_some());
    assert!(incoming.next_to_store().is_none(), "one at a time");
}

#[test]
fn acknowledgements_come_in_order_and_each_once() {
    let mut outgoing = Outgoing::new(T0, &Settings::default());
    outgoing.chunk(T0, pairs(0..1), false);
    outgoing.chunk(T0, pairs(1..2), true);
    assert_eq!(outgoing.acked(T0, 2), Err(Ended::Gap));
    assert_eq!(outgoing.acked(T0, 1), Ok(Acked::GoesOn));
    assert_eq!(outgoing.acked(T0, 1), Err(Ended::Gap));
    assert_eq!(outgoing.acked(T0, 2), Ok(Acked::Complete));
    assert_eq!(outgoing.acked(T0, 3), Err(Ended::Gap));
}

#[test]
fn either_side_gives_up_a_silent_one_but_not_itself() {
    let hour = Duration::from_secs(3600);
    let (mut outgoing, mut incoming) = (
        Outgoing::new(T0, &Settings::default()),
        Incoming::new(T0, &Settings::default()),
    );
    assert!(!outgoing.is_late(hour), "its own reading is slow");
    let chunk = outgoing.chunk(hour, pairs(0..1), false);
    assert!(!outgoing.is_late(hour));
    assert!(outgoing.is_late(hour * 2));
    assert!(incoming.is_late(hour));
    incoming.came(hour, chunk).unwrap();
    assert!(incoming.next_to_store().is_some());
    assert!(!incoming.is_late(hour * 2), "its own disk is slow");
    incoming.stored(hour * 2);
    assert!(!incoming.is_late(hour * 2));
    assert!(incoming.is_late(hour * 3));
}

#[test]
fn every_reason_has_a_number_of_its_own() {
    for number in 0..=u8::MAX {
        if let Some(reason) = Ended::from_number(number) {
            assert_eq!(reason.number(), number);
        }
    }
    assert_eq!(Ended::ALL.map(Ended::number), [1, 2, 3, 4, 5, 6]);
}

proptest! {
    /// Whatever a network does to the chunks of two copies, what is taken as complete is one of
    /// them, whole.
    #[test]
    fn what_is_complete_is_one_of_the_copies(
        picks in prop::collection::vec((0usize..2, 0usize..5), 0..12),
    ) {
        let first = chunks(4);
        let mut second = chunks(4);
        for chunk in &mut second {
            chunk.pairs[0].1 = Bytes::from_static(b"newer");
        }
        let mut outgoing = Outgoing::new(T0, &Settings::default());
        let second: Vec<Chunk> = second
            .into_iter()
            .enumerate()
            .map(|(at, chunk)| outgoing.chunk(T0, chunk.pairs, at == 3))
            .collect();
        let copies = [&first, &second];
        let sent = picks.iter().filter_map(|(copy, at)| copies[*copy].get(*at).cloned());
        if let Ok((stored, true)) = receive(sent) {
            let wholes = copies.map(|copy| -> Pairs {
                copy.iter().flat_map(|chunk| chunk.pairs.clone()).collect()
            });
            prop_assert!(wholes.contains(&stored));
        }
    }
}
