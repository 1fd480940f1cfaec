//! Which files may read clocks and files, open sockets, start threads or draw random numbers.

use super::{Offence, RustFile, text};

/// Source folders in which everything is an argument: the same input, the same answer.
const CORES: [&str; 7] = [
    "crates/contract/src/",
    "crates/dataplane/src/",
    "crates/ring/src/",
    "crates/health/src/",
    "crates/placement/src/",
    "crates/replication/src/",
    "crates/controller/src/",
];

/// Files of the cores that may touch the world after all.
const EDGES: [&str; 1] = ["crates/health/src/sysinfo_sample.rs"];

/// What is banned, and what to do instead.
const BANNED: [(&str, &str); 10] = [
    ("Instant", "time comes in as `now`"),
    ("SystemTime", "time comes in as an argument"),
    ("rand::", "randomness comes in as a seeded generator"),
    ("std::fs", "files belong to `store`, `consensus` and `node`"),
    (
        "std::net",
        "sockets belong to `consensus` and `node`; an address is a `core::net` type",
    ),
    ("std::env", "settings come in as arguments"),
    ("std::process", "processes belong to `node`"),
    ("thread::spawn", "threads belong to `consensus` and `node`"),
    ("thread::sleep", "nothing waits here"),
    ("std::thread", "threads belong to `consensus` and `node`"),
];

/// Names that a grouped import (`use std::{fs, net}`) could bring in.
const BANNED_IN_GROUPS: [&str; 5] = ["fs", "net", "env", "process", "thread"];

pub(crate) fn check(files: &[RustFile]) -> Vec<Offence> {
    let core = |file: &&RustFile| {
        let is_core = CORES.iter().any(|core| file.path.starts_with(core));
        is_core && !EDGES.contains(&file.path.as_str())
    };
    files.iter().filter(core).flat_map(of_file).collect()
}

fn of_file(file: &RustFile) -> Vec<Offence> {
    let mut offences = Vec::new();
    for (banned, instead) in BANNED {
        for at in text::words(&file.code, banned) {
            let line = text::line_of(&file.code, at);
            offences.push(file.offence(line, format!("`{banned}` in a pure crate: {instead}")));
        }
    }
    for (at, group) in file.code.match_indices("use std::{") {
        let end = text::end_of_braces(&file.code, at + group.len() - 1);
        for name in BANNED_IN_GROUPS {
            if text::words(&file.code[at..end], name).next().is_some() {
                let line = text::line_of(&file.code, at);
                offences.push(file.offence(line, format!("`std::{name}` in a pure crate")));
            }
        }
    }
    offences
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(path: &str, source: &str) -> Vec<usize> {
        check(&[RustFile::new(path, source)])
            .into_iter()
            .map(|offence| offence.line)
            .collect()
    }

    #[test]
    fn a_clock_in_a_core_is_found_in_code_and_nowhere_else() {
        let core = "crates/replication/src/replica.rs";
        assert_eq!(
            lines(core, "// no Instant here\nlet a = Instant::now();"),
            [2]
        );
        assert_eq!(
            lines(core, "let a = \"SystemTime\"; // std::fs"),
            Vec::<usize>::new()
        );
        assert_eq!(
            lines(core, "use std::{collections::BTreeMap,\n fs, net};"),
            [1, 1]
        );
        assert_eq!(lines(core, "let r = rand::rng();"), [1]);
        assert!(lines("crates/node/src/start.rs", "Instant::now()").is_empty());
        assert!(lines("crates/health/src/sysinfo_sample.rs", "use std::fs;").is_empty());
    }
}
