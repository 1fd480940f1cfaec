//! The terminal: text for people, JSON for programs, colours only where they can be seen.

use std::fmt;
use std::io::{self, IsTerminal, Write};

use serde_json::json;
use tablestore_client::Value;

use super::exit::Failure;

/// Widest cell of a table; longer values are cut with an ellipsis.
const CELL_WIDTH_MAX: usize = 48;

/// Where results go.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Screen {
    json: bool,
    colour: bool,
    terminal: bool,
}

/// What a colour means here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tone {
    Good,
    Bad,
    Heading,
    Faint,
}

impl Screen {
    pub(crate) fn new(json: bool) -> Self {
        let terminal = io::stdout().is_terminal() && io::stderr().is_terminal();
        let colour = terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Self {
            json,
            colour,
            terminal,
        }
    }

    /// Neither terminal nor colours.
    #[cfg(test)]
    pub(crate) fn plain() -> Self {
        Self {
            json: false,
            colour: false,
            terminal: false,
        }
    }

    /// Whether programs read the output.
    pub(crate) fn json(&self) -> bool {
        self.json
    }

    /// Whether a person looks at it, so that progress can be drawn.
    pub(crate) fn terminal(&self) -> bool {
        self.terminal && !self.json
    }

    /// A line of the result, on standard output.
    pub(crate) fn line(&self, text: impl AsRef<str>) {
        // A reader that has gone away (`| head`) is no failure of ours.
        let _ = writeln!(io::stdout().lock(), "{}", text.as_ref());
    }

    /// A line about the work, on standard error.
    pub(crate) fn note(&self, text: impl AsRef<str>) {
        let _ = writeln!(io::stderr().lock(), "{}", text.as_ref());
    }

    /// The result for programs, which shows itself as JSON, or its text for people.
    pub(crate) fn result(&self, value: &dyn fmt::Display, text: impl FnOnce() -> String) {
        if self.json {
            self.line(value.to_string());
        } else {
            self.line(text());
        }
    }

    /// Why the command failed, on standard error.
    pub(crate) fn failure(&self, failure: &Failure) {
        self.note(self.failure_text(failure).trim_end());
    }

    /// The same as text, each line with its line break.
    pub(crate) fn failure_text(&self, failure: &Failure) -> String {
        if self.json {
            let value = json!({
                "error": failure.message,
                "advice": failure.advice,
                "exit": failure.exit as u8,
            });
            return format!("{value}\n");
        }
        let mut text = format!("{} {}\n", self.paint(Tone::Bad, "error:"), failure.message);
        for advice in &failure.advice {
            text.push_str(&format!("  {advice}\n"));
        }
        text
    }

    pub(crate) fn paint(&self, tone: Tone, text: &str) -> String {
        if !self.colour {
            return text.to_owned();
        }
        let code = match tone {
            Tone::Good => "32;1",
            Tone::Bad => "31;1",
            Tone::Heading => "1",
            Tone::Faint => "2",
        };
        format!("\u{1b}[{code}m{text}\u{1b}[0m")
    }
}

/// Rows under headings, in columns as wide as their widest cell.
pub(crate) fn columns(screen: &Screen, headings: &[&str], rows: &[Vec<String>]) -> String {
    let cells: Vec<Vec<String>> = rows
        .iter()
        .map(|row| row.iter().map(|cell| shorten(cell)).collect())
        .collect();
    let widths: Vec<usize> = (0..headings.len())
        .map(|column| {
            let widest = cells
                .iter()
                .filter_map(|row| row.get(column))
                .map(|c| c.chars().count());
            widest
                .chain([headings[column].chars().count()])
                .max()
                .unwrap_or(0)
        })
        .collect();
    let join = |row: &[String]| {
        let padded: Vec<String> = row
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell}{}", " ".repeat(width - cell.chars().count())))
            .collect();
        padded.join("  ").trim_end().to_owned()
    };
    let headings: Vec<String> = headings.iter().map(|text| (*text).to_owned()).collect();
    let mut lines = vec![screen.paint(Tone::Heading, &join(&headings))];
    lines.extend(cells.iter().map(|row| join(row)));
    lines.join("\n")
}

fn shorten(cell: &str) -> String {
    let cell: String = cell
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    if cell.chars().count() <= CELL_WIDTH_MAX {
        return cell;
    }
    let mut short: String = cell.chars().take(CELL_WIDTH_MAX - 1).collect();
    short.push('…');
    short
}

/// A value of a row as a cell: text without quotes, numbers with every digit.
pub(crate) fn cell(value: Option<&Value>) -> String {
    match value {
        None => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

/// A field of a document about the cluster as a cell.
pub(crate) fn field(value: Option<&serde_json::Value>) -> String {
    match value {
        None => String::new(),
        Some(serde_json::Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

/// `2013-01-01 10:00:00.123` (UTC) of wall-clock milliseconds.
pub(crate) fn date_time(ms: u64) -> String {
    let (days, in_day) = (ms / 86_400_000, ms % 86_400_000);
    let (year, month, day) = civil(days);
    let (hour, minute) = (in_day / 3_600_000, in_day / 60_000 % 60);
    let (second, ms) = (in_day / 1000 % 60, in_day % 1000);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}.{ms:03}")
}

/// Year, month and day of a number of days since 1970-01-01 (Howard Hinnant's `civil_from_days`).
fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let era = shifted / 146_097;
    let of_era = shifted % 146_097;
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let shifted_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    };
    (year + era * 400 + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_needed_and_never_wider_than_the_limit() {
        let rows = vec![
            vec!["n1".to_owned(), "up".to_owned(), "x".to_owned()],
            vec!["node-two".to_owned(), "down".to_owned(), "é".repeat(60)],
        ];
        let text = columns(&Screen::plain(), &["NAME", "STATE", "ZONE"], &rows);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "NAME      STATE  ZONE");
        assert_eq!(lines[1], "n1        up     x");
        assert!(lines[2].ends_with("é…"));
        assert_eq!(lines[2].chars().count(), 10 + 7 + CELL_WIDTH_MAX);
    }

    #[test]
    fn times_are_shown_as_dates() {
        assert_eq!(date_time(0), "1970-01-01 00:00:00.000");
        assert_eq!(date_time(951_782_400_000), "2000-02-29 00:00:00.000");
        assert_eq!(date_time(1_357_034_400_123), "2013-01-01 10:00:00.123");
        assert_eq!(date_time(4_107_542_399_999), "2100-02-28 23:59:59.999");
    }
}
