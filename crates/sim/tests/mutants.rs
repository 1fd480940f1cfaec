//! Each deliberate fault is found within a bounded number of runs by a rule that it names, and a
//! run that finds it is clean without it: the simulation can see what it is there to see. Here some
//! of them; `--mutants` runs all.

use tablestore_sim::{Mutant, Options, run, run_many};

/// Runs within which a fault must be found.
const SEEDS: u64 = 400;
/// Enough to show that the find was no accident of one run.
const FINDS: usize = 2;

fn is_found(name: &str) {
    is_found_from(0, name);
}

/// The same from a seed on: one before it that finds nothing costs as much as one that does.
fn is_found_from(seed: u64, name: &str) {
    let mutant = Mutant::all()
        .into_iter()
        .find(|one| one.to_string() == name);
    let Some(mutant) = mutant else {
        panic!("no fault is called {name}");
    };
    let options = Options {
        mutant: Some(mutant),
        ..Options::default()
    };
    let summary = run_many(seed..seed + SEEDS, options, 2, FINDS);
    assert!(
        summary.failed.len() >= FINDS,
        "{name} was found {} times in {} runs",
        summary.failed.len(),
        summary.totals.runs
    );
    for report in summary.failed {
        let violation = report.violation.unwrap_or_default();
        let rule = violation.split(':').next().unwrap_or_default();
        assert!(mutant.rules().contains(&rule), "{name}: {violation}");
        let clean = run(report.seed, Options::default());
        assert_eq!(clean.violation, None, "seed {} without it", report.seed);
    }
}

#[test]
fn l01_truncation_by_commit_mark_is_found() {
    is_found("TruncateByCommitMark");
}

#[test]
fn l02_a_wrong_point_for_an_unknown_epoch_is_found() {
    is_found("UnknownEpoch");
}

#[test]
fn l08_reads_before_the_inherited_log_is_committed_are_found() {
    is_found("ReadBeforeInheritedTail");
}

#[test]
fn an_acknowledgement_before_the_sync_is_found() {
    is_found("AckBeforeSync");
}

#[test]
fn a_commit_with_the_smaller_set_is_found() {
    is_found_from(35, "CommitWithSmallerSet");
}

#[test]
fn an_owner_that_acknowledges_early_is_found() {
    is_found("AcknowledgedBeforeStored");
}

#[test]
fn an_owner_without_the_results_of_its_predecessors_is_found() {
    is_found_from(25, "InheritedResultsLost");
}

#[test]
fn a_hint_that_counts_as_a_replica_is_found() {
    is_found_from(35, "HintCountsTowardsW");
}

#[test]
fn a_late_write_that_is_stamped_anew_is_found() {
    is_found_from(42, "RestampedLateVersion");
}

#[test]
fn every_fault_names_a_rule_and_no_two_have_one_name() {
    let all = Mutant::all();
    assert!(all.iter().all(|mutant| !mutant.rules().is_empty()));
    let mut names: Vec<String> = all.iter().map(ToString::to_string).collect();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), all.len());
}
