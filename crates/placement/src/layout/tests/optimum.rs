//! Plans are at the optimum, keep the rules and prove it, whatever the topology.

use super::super::{check, plan};
use super::oracle::fewest_copies;
use super::random::case;

/// So many random cases against the oracle, which is slow.
const ORACLE_CASES: u64 = 1_000;
/// So many against the checker alone; `LAYOUT_CASES=100000`, set when the test is built, runs more.
const CHECKER_CASES: u64 = 2_000;

#[test]
fn plans_need_as_few_copies_as_the_oracle() {
    for seed in 0..ORACLE_CASES {
        let case = case(seed, 24, 9);
        let plan = plan(&case.topology, &case.current, case.replicas).expect("somebody takes");
        assert_eq!(plan.copies() as u64, fewest_copies(&case), "seed {seed}");
    }
}

#[test]
fn plans_of_random_topologies_are_accepted_as_optimal() {
    let cases = std::option_env!("LAYOUT_CASES").and_then(|cases| cases.parse().ok());
    for seed in 0..cases.unwrap_or(CHECKER_CASES) {
        let case = case(1_000_000 + seed, 40, 14);
        let plan = plan(&case.topology, &case.current, case.replicas).expect("somebody takes");
        let proof = check(&case.topology, &case.current, case.replicas, &plan);
        let proof = proof.unwrap_or_else(|refusal| panic!("seed {seed}: {refusal}"));
        assert!(proof.is_optimal(), "seed {seed}: {proof:?}");
    }
}
