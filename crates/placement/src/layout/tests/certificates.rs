//! The checker refuses what is forged, and prices never prove more than is true.

use super::super::{Cause, PRICE_MAX, Plan, Refusal, check, plan};
use super::oracle::fewest_copies;
use super::random::{Case, Random, case};

const CASES: u64 = 3_000;
const CAUSES: [Cause; 8] = [
    Cause::Missing,
    Cause::NotTaking,
    Cause::ZoneFull,
    Cause::Surplus,
    Cause::AboveShare,
    Cause::ZoneShort,
    Cause::BelowShare,
    Cause::Exchange,
];

fn checked(case: &Case, plan: &Plan) -> Result<(), Refusal> {
    let proof = check(&case.topology, &case.current, case.replicas, plan)?;
    assert!(
        proof.bound <= proof.copies,
        "the bound is below what was done"
    );
    Ok(())
}

/// Changes one thing, or nothing if there is nothing to change.
fn forge(random: &mut Random, plan: &mut Plan, nodes: u64) {
    let target = &mut plan.target;
    let proof = &mut plan.certificate;
    let places = target.places.len() as u64;
    let place = random.below(places) as usize;
    let other = random.below(places) as usize;
    let moves = proof.moves.len() as u64;
    match random.below(10) {
        0 => target.places[place] = random.below(nodes + 1) as u32,
        1 => target.places.swap(place, other),
        2 => proof.bound = proof.bound.wrapping_add(1),
        3 => proof.bound = proof.bound.saturating_sub(1 + random.below(3)),
        4 => proof.level.numerator += 1 + random.below(2),
        5 => {
            let zone = random.below(proof.zone_levels.len() as u64) as usize;
            proof.zone_levels[zone].denominator += 1 + random.below(3);
        }
        6 => proof.prices.truncate(random.below(nodes) as usize),
        7 if moves > 0 => {
            let moved = &mut proof.moves[random.below(moves) as usize];
            moved.cause = CAUSES[random.below(8) as usize];
        }
        8 if moves > 0 => drop(proof.moves.remove(random.below(moves) as usize)),
        9 if moves > 0 => {
            let moved = &mut proof.moves[random.below(moves) as usize];
            (moved.from, moved.to) = (moved.to, moved.from);
        }
        _ => {}
    }
}

#[test]
fn forged_plans_are_refused() {
    let mut refused = 0;
    for seed in 0..CASES {
        let case = case(seed, 12, 8);
        let made = plan(&case.topology, &case.current, case.replicas).expect("somebody takes");
        let mut random = Random(seed);
        let mut forged = made.clone();
        forge(&mut random, &mut forged, case.topology.nodes().len() as u64);
        let verdict = checked(&case, &forged);
        refused += usize::from(verdict.is_err());
        // Another layout may be as good, and say so truly: then nothing else was touched.
        let swapped = forged.certificate == made.certificate && verdict.is_ok();
        let empty_zone = forged.target == made.target && is_level_of_nobody(&case, &made, &forged);
        assert!(
            verdict.is_err()
                || forged == made
                || (swapped && is_same_set(&made, &forged))
                || empty_zone,
            "seed {seed}: {made:?} became {forged:?}"
        );
    }
    assert!(refused > CASES as usize / 2, "only {refused} were refused");
}

/// Whether every partition is on the same nodes: only the order of the rest differs.
fn is_same_set(made: &Plan, forged: &Plan) -> bool {
    made.target.rows().zip(forged.target.rows()).all(|(a, b)| {
        let (mut a, mut b) = (a.to_vec(), b.to_vec());
        a.sort_unstable();
        b.sort_unstable();
        a == b
    })
}

/// Whether only levels differ that no node has a share by, or that say the same.
fn is_level_of_nobody(case: &Case, made: &Plan, forged: &Plan) -> bool {
    let mut levelled = forged.clone();
    levelled.certificate.level = made.certificate.level;
    levelled.certificate.zone_levels = made.certificate.zone_levels.clone();
    let shares = |plan: &Plan| -> Vec<u128> {
        let partitions = case.current.partitions() as u128;
        let share = |node: usize| {
            let level = plan.certificate.zone_levels[case.topology.zone_of(node)];
            let weight = u128::from(case.topology.nodes()[node].weight);
            let share = u128::from(level.numerator) * weight * 1_000_000;
            (share / u128::from(level.denominator)).min(partitions * 1_000_000)
        };
        case.topology.able().map(share).collect()
    };
    levelled == *made && shares(made) == shares(forged)
}

#[test]
fn no_prices_prove_more_than_the_optimum() {
    for seed in 0..500 {
        let case = case(seed, 10, 6);
        let mut plan = plan(&case.topology, &case.current, case.replicas).expect("somebody takes");
        let optimum = fewest_copies(&case);
        let mut random = Random(seed ^ 0xabcd);
        for price in &mut plan.certificate.prices {
            *price = match random.below(9) {
                0 => PRICE_MAX as i64,
                1 => -(PRICE_MAX as i64),
                _ => random.below(7) as i64 - 3,
            };
        }
        // It refuses the bound that is claimed, and says what these prices prove.
        let proven = match check(&case.topology, &case.current, case.replicas, &plan) {
            Ok(proof) => proof.bound,
            Err(Refusal::Bound(bound)) => bound,
            Err(refusal) => panic!("seed {seed}: {refusal}"),
        };
        assert!(
            proven <= optimum,
            "seed {seed}: {proven} is above {optimum}"
        );
    }
}
