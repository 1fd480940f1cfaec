//! How many methods a public trait may require.
//!
//! A trait through which crates compose is a promise to whoever implements it. Each has a limit
//! here, so that none grows unnoticed.

use super::{Offence, RustFile, text};

/// Public traits and the most methods that each may require.
const LIMITS: [(&str, usize); 23] = [
    ("Locate", 1),
    ("PointHash", 1),
    ("StableBytes", 1),
    ("Detector", 2),
    ("Sample", 1),
    ("Strategy", 3),
    ("Engine", 8),
    ("ReadRows", 8),
    ("Checkpoints", 8),
    ("Copies", 8),
    ("Disk", 6),
    ("SegmentFile", 3),
    ("LogPlace", 3),
    ("LogBytes", 3),
    ("Notes", 4),
    ("Snapshot", 3),
    ("Replacement", 3),
    ("Backend", 8),
    ("Timeline", 8),
    ("Administration", 9),
    ("RowService", 8),
    ("PeerService", 1),
    ("Rows", 2),
];

pub(crate) fn check(files: &[RustFile]) -> Vec<Offence> {
    let library = |file: &&RustFile| file.path.starts_with("crates/") && !file.is_test();
    files.iter().filter(library).flat_map(of_file).collect()
}

fn of_file(file: &RustFile) -> Vec<Offence> {
    let mut offences = Vec::new();
    for (at, found) in file.code.match_indices("pub trait ") {
        let rest = &file.code[at + found.len()..];
        let name: String = rest.chars().take_while(|c| text::is_word(*c)).collect();
        let Some(open) = rest.find('{').map(|open| at + found.len() + open) else {
            continue;
        };
        let body = &file.code[open..text::end_of_braces(&file.code, open)];
        let required = required_methods(body);
        let line = text::line_of(&file.code, at);
        match LIMITS.iter().find(|(limited, _)| *limited == name) {
            None => offences.push(file.offence(
                line,
                format!("the trait {name} requires {required} methods and has no limit in tidy"),
            )),
            Some((_, limit)) if required > *limit => offences.push(file.offence(
                line,
                format!("{name} requires {required} methods of at most {limit}"),
            )),
            Some(_) => {}
        }
    }
    offences
}

/// Functions directly in a trait's body that end in `;` rather than in a body of their own.
fn required_methods(body: &str) -> usize {
    let mut required = 0;
    for at in text::words(body, "fn") {
        let (opened, closed) = (
            body[..at].matches('{').count(),
            body[..at].matches('}').count(),
        );
        let is_method = body[at + 2..].trim_start().starts_with(text::is_word);
        let ends = body[at..]
            .find(['{', ';'])
            .map(|end| &body[at + end..at + end + 1]);
        required += usize::from(opened == closed + 1 && is_method && ends == Some(";"));
    }
    required
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(source: &str) -> usize {
        check(&[RustFile::new("crates/ring/src/locate.rs", source)]).len()
    }

    #[test]
    fn only_required_methods_count() {
        let body = "{ type N; fn a(&self, f: fn(u8) -> u8);\n fn b(&self) -> u8 { fn c(); 1 } }";
        assert_eq!(required_methods(body), 1);
    }

    #[test]
    fn a_trait_that_grows_or_is_unknown_is_an_offence() {
        assert_eq!(found("pub trait Locate { fn a(); fn p() { } }"), 0);
        assert_eq!(found("pub trait Locate { fn a(); fn b(); }"), 1);
        assert_eq!(found("pub trait Unheard { }"), 1);
        assert_eq!(found("pub(crate) trait Inner { fn a(); }"), 0);
    }
}
