//! The lines of a trace, and those of them that explain a violation. Knows nothing of what they
//! mean but a few words.

use std::fmt;

use crate::Report;

/// Lines of an excerpt at most.
const LINES_MAX: usize = 200;
/// How the line of a planned fault begins.
const FAULT: &str = "fault ";
/// Words of lines that concern every partition.
const OF_ALL: [&str; 6] = [
    FAULT,
    " starts",
    " is gone",
    " leads in ",
    "heals",
    "held dead",
];

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// When.
    pub at_us: u64,
    /// What, in words.
    pub text: String,
}

impl Line {
    /// The number of the planned fault that began here.
    pub(crate) fn fault(&self) -> Option<usize> {
        let (number, _) = self.text.strip_prefix(FAULT)?.split_once(':')?;
        number.parse().ok()
    }

    /// The node and the start that it is about, if it names one, such as `n2.7`.
    fn node(&self) -> &str {
        let mut words = self.text.split([' ', ':', ',', '}']);
        let is_node = |word: &&str| {
            let digits = word.strip_prefix('n').map(|rest| rest.replace('.', ""));
            digits.is_some_and(|d| !d.is_empty() && d.bytes().all(|b| b.is_ascii_digit()))
        };
        words.find(is_node).unwrap_or_default()
    }

    fn concerns(&self, partition: Option<&str>) -> bool {
        let of_all = OF_ALL.iter().any(|word| self.text.contains(word));
        of_all || partition.is_none_or(|name| names(&self.text, name) || self.has_debug(name))
    }

    /// Whether a partition is named as its debug form does.
    fn has_debug(&self, name: &str) -> bool {
        let (table, number) = name.split_once('/').unwrap_or_default();
        let debug = format!("TableId({table}), partition: {number} }}");
        self.text.contains(&debug)
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = self.at_us as f64 / 1_000.0;
        write!(f, "{ms:>10.3}  {:<7}", self.node())?;
        // The node has its own column.
        let text = self.text.as_str();
        let rest = text.strip_prefix(self.node()).unwrap_or(text);
        f.write_str(rest.trim_start())
    }
}

/// What explains the violation of a run: its last lines that concern the partition it names,
/// faults, starts and leaders. Empty if no trace was kept.
#[must_use]
pub fn excerpt(report: &Report) -> Vec<String> {
    let violation = report.violation.as_deref().unwrap_or_default();
    let partition = partition_in(violation);
    let concerned = |line: &&Line| line.concerns(partition);
    let lines: Vec<&Line> = report.trace.iter().filter(concerned).collect();
    let left_out = lines.len().saturating_sub(LINES_MAX - 1);
    let more = (left_out > 0).then(|| format!("({left_out} lines before)"));
    let last = lines.into_iter().skip(left_out);
    more.into_iter()
        .chain(last.map(ToString::to_string))
        .collect()
}

/// The first partition that a text names, such as `3/5`.
fn partition_in(text: &str) -> Option<&str> {
    let words = text.split(|one: char| !one.is_ascii_digit() && one != '/');
    let mut named = words.filter(|word| {
        let halves = word.split_once('/');
        halves.is_some_and(|(table, number)| {
            !table.is_empty() && !number.is_empty() && !number.contains('/')
        })
    });
    named.next()
}

/// Whether a text names a partition, not one whose name ends or begins like it.
fn names(text: &str, name: &str) -> bool {
    let is_digit = |one: Option<char>| one.is_some_and(|one| one.is_ascii_digit());
    text.match_indices(name).any(|(at, _)| {
        !is_digit(text[..at].chars().next_back())
            && !is_digit(text[at + name.len()..].chars().next())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_shows_its_time_and_its_node_in_front() {
        let line = |text: &str| Line {
            at_us: 12_345,
            text: text.to_owned(),
        };
        assert_eq!(line("n2.7 starts").to_string(), "    12.345  n2.7   starts");
        let fault = line("fault 3: Kill at n1");
        assert_eq!(fault.to_string(), "    12.345  n1     fault 3: Kill at n1");
        assert_eq!(fault.fault(), Some(3));
    }

    #[test]
    fn a_partition_is_found_by_its_whole_name() {
        assert_eq!(partition_in("no primary: 1/15: and/or 2"), Some("1/15"));
        assert!(names("of 1/5 there", "1/5"));
        assert!(!names("of 1/55, 11/5", "1/5"));
    }
}
