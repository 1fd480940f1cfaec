//! How a file opens, and how long files, functions and lines may be.

use super::{Measure, Offence, RustFile, text};

/// Lines of a file without its tests.
const FILE_LINES_MAX: usize = 400;
/// Lines of a file with its tests, or of tests alone.
const FILE_LINES_HARD: usize = 800;
/// Lines of a function from `fn` to its last brace; tests are exempt, they tell a story.
const FUNCTION_LINES_MAX: usize = 70;
/// Characters in a line.
const COLUMNS_MAX: usize = 100;

pub(crate) fn check(files: &[RustFile]) -> Vec<Offence> {
    files.iter().flat_map(of_file).collect()
}

fn of_file(file: &RustFile) -> Vec<Offence> {
    let mut offences = Vec::new();
    if !file.source.starts_with("//!") {
        offences.push(file.offence(1, "does not open with `//!`: what it is for"));
    }
    let code_end = if file.is_test() {
        0
    } else {
        start_of_tests(&file.code)
    };
    let lines = file.source.lines().count();
    let lines_of_code = file.code[..code_end].lines().count();
    if lines_of_code > FILE_LINES_MAX {
        let what = format!("{lines_of_code} lines without tests; {FILE_LINES_MAX} are allowed");
        offences.push(measured(file, 0, what, "file-lines", lines_of_code));
    }
    if lines > FILE_LINES_HARD {
        let what = format!("{lines} lines; {FILE_LINES_HARD} are allowed with tests");
        offences.push(measured(file, 0, what, "file-lines-with-tests", lines));
    }
    offences.extend(functions(file, code_end));
    offences.extend(columns(file));
    offences
}

fn measured(
    file: &RustFile,
    line: usize,
    what: String,
    subject: impl Into<String>,
    amount: usize,
) -> Offence {
    let measure = Some(Measure {
        subject: subject.into(),
        amount,
    });
    Offence {
        measure,
        ..file.offence(line, what)
    }
}

/// Where the inline tests of a file begin; its end if there are none.
fn start_of_tests(code: &str) -> usize {
    let inline = |at: &usize| {
        let next = code[*at..]
            .lines()
            .map(str::trim)
            .find(|line| !line.starts_with("#["));
        next.is_some_and(|line| line.starts_with("mod ") && line.ends_with('{'))
    };
    code.match_indices("#[cfg(test)]")
        .map(|(at, _)| at)
        .find(inline)
        .unwrap_or(code.len())
}

fn functions(file: &RustFile, code_end: usize) -> Vec<Offence> {
    let code = &file.code[..code_end];
    let mut offences = Vec::new();
    for at in text::words(code, "fn") {
        let name: String = code[at + 2..]
            .trim_start()
            .chars()
            .take_while(|c| text::is_word(*c))
            .collect();
        // A function pointer has no name, a required method no body.
        let Some(open) = code[at..].find(['{', ';']).map(|open| at + open) else {
            continue;
        };
        if name.is_empty() || code[open..].starts_with(';') {
            continue;
        }
        let lines = code[at..text::end_of_braces(code, open)].lines().count();
        if lines > FUNCTION_LINES_MAX {
            let what = format!("{name} has {lines} lines; {FUNCTION_LINES_MAX} are allowed");
            let subject = format!("function-lines {name}");
            offences.push(measured(
                file,
                text::line_of(code, at),
                what,
                subject,
                lines,
            ));
        }
    }
    offences
}

fn columns(file: &RustFile) -> Option<Offence> {
    let too_long = |line: &&str| line.chars().count() > COLUMNS_MAX && !line.contains("://");
    let count = file.source.lines().filter(too_long).count();
    let first = file.source.lines().position(|line| too_long(&line))? + 1;
    let what = format!("{count} lines are longer than {COLUMNS_MAX} characters, this one first");
    Some(measured(file, first, what, "long-lines", count))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subjects(path: &str, source: &str) -> Vec<(String, usize)> {
        let measure = |offence: Offence| match offence.measure {
            Some(Measure { subject, amount }) => (subject, amount),
            None => (
                offence
                    .what
                    .split(':')
                    .next()
                    .unwrap_or_default()
                    .to_owned(),
                0,
            ),
        };
        check(&[RustFile::new(path, source)])
            .into_iter()
            .map(measure)
            .collect()
    }

    #[test]
    fn a_file_opens_with_what_it_is_for() {
        assert!(subjects("a/src/x.rs", "//! For x.\n").is_empty());
        assert_eq!(
            subjects("a/src/x.rs", "use x;\n")[0].0,
            "does not open with `//!`"
        );
    }

    #[test]
    fn lines_are_counted_without_tests_and_then_with_them() {
        let code = format!("//! x\n{}", "x;\n".repeat(399));
        assert!(subjects("a/src/x.rs", &code).is_empty());
        let tests = format!("#[cfg(test)]\nmod tests {{\n{}}}\n", "x;\n".repeat(300));
        assert!(subjects("a/src/x.rs", &format!("{code}{tests}")).is_empty());
        let longer = subjects("a/src/x.rs", &format!("{code}y;\n{tests}"));
        assert_eq!(longer, [("file-lines".to_owned(), 401)]);
        let long_tests = format!("//! x\n{}", "x;\n".repeat(800));
        let found = subjects("a/tests/x.rs", &long_tests);
        assert_eq!(found, [("file-lines-with-tests".to_owned(), 801)]);
        let declared = format!("//! x\n#[cfg(test)]\nmod tests;\n{}", "x;\n".repeat(400));
        assert_eq!(
            subjects("a/src/x.rs", &declared),
            [("file-lines".to_owned(), 403)]
        );
    }

    #[test]
    fn functions_are_measured_by_their_braces() {
        let function =
            |lines: usize| format!("//! x\nfn f() {{\n{}}}\n", "g(\"}\");\n".repeat(lines));
        assert!(subjects("a/src/x.rs", &function(68)).is_empty());
        let found = subjects("a/src/x.rs", &function(69));
        assert_eq!(found, [("function-lines f".to_owned(), 71)]);
        let only_required = "//! x\ntrait T {\n    fn f(&self) -> fn(u8);\n}\n";
        assert!(subjects("a/src/x.rs", only_required).is_empty());
    }

    #[test]
    fn long_lines_are_counted_unless_they_hold_an_address() {
        let long = "x".repeat(101);
        let source = format!("//! x\n{long}\n{long}\n// https://{long}\n");
        assert_eq!(
            subjects("a/src/x.rs", &source),
            [("long-lines".to_owned(), 2)]
        );
    }
}
