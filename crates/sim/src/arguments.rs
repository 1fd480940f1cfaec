//! What the command line asks for. Knows nothing of how it is done.

use std::ops::Range;

use tablestore_sim::{Kept, Mutant, Options};

/// What is to be run, and how.
pub(crate) struct Arguments {
    pub(crate) seeds: Range<u64>,
    pub(crate) options: Options,
    pub(crate) threads: u64,
    /// Make the first run that fails smaller.
    pub(crate) shrink: bool,
    /// Fail if the runs did not take the ways that they must.
    pub(crate) cover: bool,
    /// Run every deliberate fault, or the one that is given, until it was found often enough.
    pub(crate) mutants: bool,
}

pub(crate) fn parse(mut given: impl Iterator<Item = String>) -> Result<Arguments, String> {
    let mut arguments = Arguments {
        seeds: 0..1000,
        options: Options::default(),
        threads: 2,
        shrink: false,
        cover: false,
        mutants: false,
    };
    while let Some(flag) = given.next() {
        let options = &mut arguments.options;
        match flag.as_str() {
            "--trace" => options.trace = true,
            "--mutants" => arguments.mutants = true,
            "--cover" => arguments.cover = true,
            "--twice" => options.twice = true,
            "--trees" => options.trees = true,
            "--shrink" => arguments.shrink = true,
            "--usual-limits" => options.smaller.has_usual_limits = true,
            _ => {
                let value = given.next();
                let value = value.ok_or_else(|| format!("{flag}: a value is missing"))?;
                valued(&mut arguments, &flag, &value)?;
            }
        }
    }
    Ok(arguments)
}

/// A flag with a value.
fn valued(arguments: &mut Arguments, flag: &str, value: &str) -> Result<(), String> {
    let smaller = &mut arguments.options.smaller;
    match flag {
        "--seed" => {
            let seed = number(value)?;
            arguments.seeds = seed..seed + 1;
        }
        "--seeds" => {
            let halves = value.split_once("..");
            let (from, to) =
                halves.ok_or_else(|| format!("--seeds: expected A..B, got {value}"))?;
            arguments.seeds = number(from)?..number(to)?;
        }
        "--threads" => arguments.threads = number(value)?,
        "--mutant" => arguments.options.mutant = Some(mutant(value)?),
        "--faults" => smaller.faults = Some(faults(value)?),
        "--until" => smaller.until_us = Some(time_us(value)?),
        "--nodes" => smaller.nodes = Some(number(value)? as usize),
        "--clients" => smaller.clients = Some(number(value)? as usize),
        "--keys" => smaller.keys = Some(number(value)?),
        _ => return Err(format!("unknown flag {flag}")),
    }
    Ok(())
}

fn number(text: &str) -> Result<u64, String> {
    text.parse()
        .map_err(|_| format!("expected a number, got {text}"))
}

/// Numbers between commas, or `none`.
fn faults(text: &str) -> Result<Kept, String> {
    let mut kept = Kept::NONE;
    for one in text.split(',').filter(|one| *one != "none") {
        kept = kept.with(number(one)? as usize);
    }
    Ok(kept)
}

/// A time such as `812ms` or `812345us`.
fn time_us(text: &str) -> Result<u64, String> {
    if let Some(ms) = text.strip_suffix("ms") {
        return Ok(number(ms)?.saturating_mul(1_000));
    }
    let us = text.strip_suffix("us");
    number(us.ok_or_else(|| format!("expected a time such as 812ms, got {text}"))?)
}

fn mutant(name: &str) -> Result<Mutant, String> {
    let mut all = Mutant::all().into_iter();
    all.find(|mutant| mutant.to_string() == name)
        .ok_or_else(|| {
            let names: Vec<String> = Mutant::all().iter().map(ToString::to_string).collect();
            format!("unknown mutant {name}; there are {}", names.join(", "))
        })
}
