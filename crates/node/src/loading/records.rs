//! Records of a CSV file (RFC 4180): cells that know whether they stand in quotes.
//!
//! Knows nothing of types. Quotes are kept apart from text, because `""` is an empty text and
//! nothing between two commas is no value.

use super::lines::{LINE_BYTES_MAX, Line, Lines};
use super::source::Rejected;

/// One cell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cell {
    pub(crate) text: String,
    pub(crate) quoted: bool,
}

impl Cell {
    /// Whether the cell says that there is no value.
    pub(crate) fn is_null(&self, null: Option<&str>) -> bool {
        !self.quoted && (self.text.is_empty() || Some(self.text.as_str()) == null)
    }
}

/// The cells of one record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record {
    /// The line on which it begins.
    pub(crate) line: u64,
    pub(crate) cells: Vec<Cell>,
    /// As it stands in the file.
    pub(crate) text: String,
}

/// The records of a file; blank lines between them are skipped.
pub(crate) struct Records {
    lines: Lines,
}

impl Records {
    pub(crate) fn new(lines: Lines) -> Self {
        Self { lines }
    }

    /// The record that begins with this line.
    fn record(
        &mut self,
        line: u64,
        mut text: String,
        mut end: &'static str,
    ) -> Result<Record, Rejected> {
        let reject = |text, reason| Rejected { line, reason, text };
        let mut scan = Scan::default();
        loop {
            match scan.line(&text) {
                Ok(true) => break,
                Ok(false) => {}
                Err(reason) => return Err(reject(text, reason)),
            }
            // The line ends within quotes, so its end belongs to the cell.
            let (more, more_end) = match self.lines.next() {
                Some(Line {
                    text: Ok(more),
                    end,
                    ..
                }) => (more, end),
                Some(Line {
                    number,
                    text: Err(reason),
                    ..
                }) => {
                    return Err(reject(
                        text,
                        format!("in the cell's line {number}: {reason}"),
                    ));
                }
                None => {
                    let reason = "expected a closing quote, found the end of the file";
                    return Err(reject(text, reason.to_owned()));
                }
            };
            if text.len() + more.len() > LINE_BYTES_MAX {
                let reason = format!("expected a closing quote within {LINE_BYTES_MAX} bytes");
                return Err(reject(text, reason));
            }
            text.push_str(end);
            text.push_str(&more);
            end = more_end;
        }
        let cells = scan.cells;
        Ok(Record { line, cells, text })
    }
}

impl Iterator for Records {
    type Item = Result<Record, Rejected>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let Line { number, text, end } = self.lines.next()?;
            match text {
                Ok(text) if text.is_empty() => {}
                Ok(text) => return Some(self.record(number, text, end)),
                Err(reason) => {
                    return Some(Err(Rejected {
                        line: number,
                        reason,
                        text: String::new(),
                    }));
                }
            }
        }
    }
}

/// A record on its way; goes on where the text ended the last time.
#[derive(Default)]
struct Scan {
    at: usize,
    cells: Vec<Cell>,
    /// The quoted cell that has not ended yet.
    open: Option<String>,
}

impl Scan {
    /// Takes in the text from where it stopped; false if it ends within quotes.
    fn line(&mut self, text: &str) -> Result<bool, String> {
        loop {
            let rest = &text[self.at..];
            if self.open.is_none() && !rest.starts_with('"') {
                let end = rest.find(',').unwrap_or(rest.len());
                self.push(rest[..end].to_owned(), false);
                self.at += end;
            } else {
                if self.open.is_none() {
                    self.open = Some(String::new());
                    self.at += 1;
                }
                if !self.quoted(text)? {
                    return Ok(false);
                }
            }
            if self.at == text.len() {
                return Ok(true);
            }
            self.at += 1;
        }
    }

    /// The open cell up to its closing quote; false if there is none yet.
    fn quoted(&mut self, text: &str) -> Result<bool, String> {
        let mut cell = self.open.take().unwrap_or_default();
        loop {
            let rest = &text[self.at..];
            let Some(end) = rest.find('"') else {
                cell.push_str(rest);
                self.at = text.len();
                self.open = Some(cell);
                return Ok(false);
            };
            cell.push_str(&rest[..end]);
            self.at += end + 1;
            match text.as_bytes().get(self.at) {
                Some(b'"') => {
                    cell.push('"');
                    self.at += 1;
                }
                Some(b',') | None => {
                    self.push(cell, true);
                    return Ok(true);
                }
                Some(_) => {
                    let number = self.cells.len() + 1;
                    return Err(format!(
                        "field {number}: expected a comma after the closing quote"
                    ));
                }
            }
        }
    }

    fn push(&mut self, text: String, quoted: bool) {
        self.cells.push(Cell { text, quoted });
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail by panic")]
    use std::io::Cursor;

    use super::*;

    fn records(text: &str) -> Vec<Result<Record, Rejected>> {
        let input = Cursor::new(text.as_bytes().to_vec());
        Records::new(Lines::new(Box::new(input))).collect()
    }

    /// Quoted cells in brackets.
    fn shown(text: &str) -> Vec<(u64, String)> {
        records(text)
            .into_iter()
            .map(|record| match record {
                Ok(Record { line, cells, .. }) => {
                    let cells: Vec<String> = cells
                        .iter()
                        .map(|cell| match cell.quoted {
                            true => format!("[{}]", cell.text),
                            false => cell.text.clone(),
                        })
                        .collect();
                    (line, cells.join("|"))
                }
                Err(Rejected { line, reason, .. }) => (line, format!("! {reason}")),
            })
            .collect()
    }

    #[test]
    fn cells_know_their_quotes_and_records_their_first_line() {
        let text = "a,\"\",,\" b \"\r\n\r\n\"c\r\nd\"\"e\n\n\",f\n\nx\"y,z\r\n,\nlast,é";
        let expected = [
            (1, "a|[]||[ b ]"),
            (3, "[c\r\nd\"e\n\n]|f"),
            (8, "x\"y|z"),
            (9, "|"),
            (10, "last|é"),
        ];
        assert_eq!(
            shown(text),
            expected.map(|(line, cells)| (line, cells.to_owned()))
        );
    }

    #[test]
    fn a_wrong_quote_is_reported_where_its_record_begins() {
        let text = "a\n\"b\"c,d\n\n\"e\nf\n";
        assert_eq!(
            shown(text),
            [
                (1, "a".to_owned()),
                (
                    2,
                    "! field 1: expected a comma after the closing quote".to_owned()
                ),
                (
                    4,
                    "! expected a closing quote, found the end of the file".to_owned()
                ),
            ]
        );
        assert_eq!(records(text)[2].as_ref().unwrap_err().text, "\"e\nf");
    }

    #[test]
    fn a_forgotten_quote_does_not_take_the_whole_file_into_memory() {
        let line = "x".repeat(1 << 20);
        let text = format!("\"a\n{line}\n{line}\n{line}\n{line}\nb,c\n");
        let shown = shown(&text);
        assert_eq!(
            shown[0],
            (
                1,
                "! expected a closing quote within 4194304 bytes".to_owned()
            )
        );
        assert_eq!(shown[1], (6, "b|c".to_owned()));
    }
}
