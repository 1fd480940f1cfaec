//! Runs seeds from the command line:
//! `--seeds A..B | --seed N`, `--mutant NAME`, `--mutants`,
//! `--trace`, `--threads N`, `--shrink`, `--cover`,
//! `--twice`, `--trees`; and what a run leaves out: `--faults 3,7`, `--until 812ms`, `--nodes N`,
//! `--clients N`, `--keys N`, `--usual-limits`.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program for people on a terminal"
)]

mod arguments;

use std::process::ExitCode;

use tablestore_sim::{Mutant, Options, Totals, excerpt, fare, missed, run, run_many, shrink};

use self::arguments::{Arguments, parse};

/// Failures after which a range is given up.
const FAILURES_MAX: usize = 20;

fn main() -> ExitCode {
    match parse(std::env::args().skip(1)) {
        Ok(arguments) => carry_out(&arguments),
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(2)
        }
    }
}

fn carry_out(arguments: &Arguments) -> ExitCode {
    if arguments.mutants {
        return show_mutants(arguments);
    }
    if arguments.options.trace {
        return show(arguments);
    }
    let (seeds, options) = (arguments.seeds.clone(), arguments.options);
    let summary = run_many(seeds, options, arguments.threads, FAILURES_MAX);
    print_totals(&summary.totals);
    for report in &summary.failed {
        let violation = report.violation.as_deref().unwrap_or_default();
        println!("seed {}: {violation}", report.seed);
        println!("  replay: {} --trace", replay(report.seed, &options));
    }
    let Some(first) = summary.failed.first() else {
        println!("{} runs, no rule broken", summary.totals.runs);
        return covered(arguments.cover, &summary.totals);
    };
    if arguments.shrink {
        show_smaller(first.seed, options);
    }
    ExitCode::FAILURE
}

/// Whether each deliberate fault is found, often enough and by its own rules.
fn show_mutants(arguments: &Arguments) -> ExitCode {
    let (mut is_good, only) = (true, arguments.options.mutant);
    let all = Mutant::all().into_iter();
    for mutant in all.filter(|mutant| only.is_none_or(|only| only == *mutant)) {
        let fared = fare(mutant, arguments.seeds.clone(), arguments.threads);
        is_good &= fared.is_found() && fared.others.is_empty();
        println!("{fared}");
    }
    if is_good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Whether the runs took the ways that they must.
fn covered(is_asked: bool, totals: &Totals) -> ExitCode {
    let missed = missed(totals);
    if !is_asked || missed.is_empty() {
        return ExitCode::SUCCESS;
    }
    missed.iter().for_each(|line| println!("{line}"));
    ExitCode::FAILURE
}

/// One run, with everything that happened.
fn show(arguments: &Arguments) -> ExitCode {
    let report = run(arguments.seeds.start, arguments.options);
    report.trace.iter().for_each(|line| println!("{line}"));
    println!("trace hash {:016x}", report.trace_hash);
    print_totals(&report.totals);
    let Some(violation) = report.violation else {
        return ExitCode::SUCCESS;
    };
    println!("seed {}: {violation}", report.seed);
    ExitCode::FAILURE
}

/// The smallest run found that breaks the same rule.
fn show_smaller(seed: u64, options: Options) {
    let Some((options, report)) = shrink(seed, options) else {
        return println!("seed {seed} breaks no rule when it is run alone");
    };
    let violation = report.violation.as_deref().unwrap_or_default();
    println!("seed {seed}, made smaller: {violation}");
    println!("  replay: {}", replay(seed, &options));
    excerpt(&report).iter().for_each(|line| println!("{line}"));
}

fn replay(seed: u64, options: &Options) -> String {
    let mutant = options.mutant.map(|m| format!(" --mutant {m}"));
    let mutant = mutant.unwrap_or_default();
    format!("cargo xtask sim --seed {seed}{mutant}{}", options.smaller)
}

fn print_totals(totals: &Totals) {
    println!(
        "{} runs, {} events, {} offices, {} writes, {} strong reads, {} s simulated",
        totals.runs,
        totals.events,
        totals.offices,
        totals.writes,
        totals.reads,
        totals.simulated_us / 1_000_000
    );
    println!(
        "all was well {} ms after healing at the latest",
        totals.well_after_us_max / 1_000
    );
    for (way, count) in &totals.ways {
        let runs = totals.runs_with.get(way).copied().unwrap_or(0);
        println!("  {count:>9} in {runs:>6} runs  {way}");
    }
}
