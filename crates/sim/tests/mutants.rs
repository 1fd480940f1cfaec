//! Each deliberate fault is found within a bounded number of runs, and a run that finds it is clean
//! without it: the simulation can see what it is there to see.

use tablestore_sim::{Mutant, Options, run, run_many};

/// Runs within which a fault must be found.
const SEEDS: u64 = 400;
/// Enough to show that the find was no accident of one run.
const FINDS: usize = 2;

fn is_found(name: &str) {
    let mutant = Mutant::all()
        .into_iter()
        .find(|one| one.to_string() == name);
    assert!(mutant.is_some(), "no fault is called {name}");
    let options = Options {
        mutant,
        ..Options::default()
    };
    let summary = run_many(0..SEEDS, options, 2, FINDS);
    assert!(
        summary.failed.len() >= FINDS,
        "{name} was found {} times in {} runs",
        summary.failed.len(),
        summary.totals.runs
    );
    for report in summary.failed {
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
