//! Writes what was measured into the documents. Knows nothing about how it was measured.

use std::path::{Path, PathBuf};
use std::{fs, io};

use crate::algorithms;
use crate::plot::svg;

const BEGIN: &str = "<!-- measured: begin -->\n";
const END: &str = "<!-- measured: end -->\n";

fn docs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs")
}

/// Replaces the table of the page "which hash" and its two plots.
pub fn write(table: &str) -> io::Result<()> {
    let (balance, movement) = algorithms::balance_and_movement();
    let plots = [
        (
            "which-hash-balance.svg",
            "Load of the fullest server by the mean, by number of servers",
            balance,
        ),
        (
            "which-hash-movement.svg",
            "Keys that a new server moves, by the ideal, by number of servers",
            movement,
        ),
    ];
    for (file, title, lines) in plots {
        fs::write(docs().join(file), svg(title, &lines))?;
    }
    let page = docs().join("which-hash.md");
    let text = fs::read_to_string(&page)?;
    let missing = || io::Error::other("the page has no place for what was measured");
    let (head, rest) = text.split_once(BEGIN).ok_or_else(missing)?;
    let (_, tail) = rest.split_once(END).ok_or_else(missing)?;
    fs::write(page, format!("{head}{BEGIN}{table}{END}{tail}"))
}
