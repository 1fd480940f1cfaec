//! Runs seeds from the command line:
//! `--seeds A..B | --seed N`, `--mutant NAME`, `--trace`, `--threads N`.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program for people on a terminal"
)]

use std::ops::Range;
use std::process::ExitCode;

use tablestore_sim::{Mutant, Options, Totals, run, run_many};

/// Failures after which a range is given up.
const FAILURES_MAX: usize = 20;

struct Arguments {
    seeds: Range<u64>,
    options: Options,
    threads: u64,
}

fn main() -> ExitCode {
    match parse(std::env::args().skip(1)) {
        Ok(arguments) => carry_out(&arguments),
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(2)
        }
    }
}

fn parse(mut given: impl Iterator<Item = String>) -> Result<Arguments, String> {
    let mut arguments = Arguments {
        seeds: 0..1000,
        options: Options::default(),
        threads: 2,
    };
    while let Some(flag) = given.next() {
        if flag == "--trace" {
            arguments.options.trace = true;
            continue;
        }
        let value = given
            .next()
            .ok_or_else(|| format!("{flag}: a value is missing"))?;
        match flag.as_str() {
            "--seed" => {
                let seed = number(&value)?;
                arguments.seeds = seed..seed + 1;
            }
            "--seeds" => {
                let (from, to) = value
                    .split_once("..")
                    .ok_or_else(|| format!("--seeds: expected A..B, got {value}"))?;
                arguments.seeds = number(from)?..number(to)?;
            }
            "--threads" => arguments.threads = number(&value)?,
            "--mutant" => arguments.options.mutant = Some(mutant(&value)?),
            _ => return Err(format!("unknown flag {flag}")),
        }
    }
    Ok(arguments)
}

fn number(text: &str) -> Result<u64, String> {
    text.parse()
        .map_err(|_| format!("expected a number, got {text}"))
}

fn mutant(name: &str) -> Result<Mutant, String> {
    let mut all = Mutant::all().into_iter();
    all.find(|mutant| mutant.to_string() == name)
        .ok_or_else(|| {
            let names: Vec<String> = Mutant::all().iter().map(ToString::to_string).collect();
            format!("unknown mutant {name}; there are {}", names.join(", "))
        })
}

fn carry_out(arguments: &Arguments) -> ExitCode {
    let Arguments {
        seeds,
        options,
        threads,
    } = arguments;
    if options.trace {
        let report = run(seeds.start, *options);
        report.trace.iter().for_each(|line| println!("{line}"));
        println!("trace hash {:016x}", report.trace_hash);
        print_totals(&report.totals);
        if let Some(violation) = report.violation {
            println!("seed {}: {violation}", report.seed);
            return ExitCode::FAILURE;
        }
        return ExitCode::SUCCESS;
    }
    let summary = run_many(seeds.clone(), *options, *threads, FAILURES_MAX);
    print_totals(&summary.totals);
    for report in &summary.failed {
        let violation = report.violation.as_deref().unwrap_or_default();
        println!("seed {}: {violation}", report.seed);
        let mutant = options.mutant.map(|m| format!(" --mutant {m}"));
        let mutant = mutant.unwrap_or_default();
        println!(
            "  replay: cargo xtask sim --seed {}{mutant} --trace",
            report.seed
        );
    }
    if summary.failed.is_empty() {
        println!("{} runs, no rule broken", summary.totals.runs);
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
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
    for (way, count) in &totals.ways {
        println!("  {count:>9}  {way}");
    }
}
