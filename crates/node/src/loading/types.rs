//! Which type the columns of a text file have, found from a sample, and cells as values.
//!
//! Knows nothing of files: a cell is text, in quotes or not. What is found never changes a cell:
//! a column has a type only if every cell would be written again as it is, `1e3` as 1000.

use std::str::FromStr;

use tablestore_client::{Decimal, Value, json};

use super::records::Cell;

/// The type of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ColumnType {
    Text,
    Number,
    Truth,
    /// Lists, maps and binary, written as JSON.
    Json,
}

impl ColumnType {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Text => "string",
            Self::Number => "number",
            Self::Truth => "bool",
            Self::Json => "json",
        }
    }
}

impl FromStr for ColumnType {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "string" => Ok(Self::Text),
            "number" => Ok(Self::Number),
            "bool" => Ok(Self::Truth),
            "json" => Ok(Self::Json),
            _ => Err(format!(
                "`{text}` is no type: expected string, number, bool or json"
            )),
        }
    }
}

/// A column's type, and whether the caller gave it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Column {
    pub(crate) kind: ColumnType,
    /// A given type takes what it can hold; a found one only what it gives back unchanged.
    pub(crate) given: bool,
}

/// What the cells of one column seen so far allow.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Guess {
    seen: bool,
    number: bool,
    truth: bool,
    json: bool,
}

impl Guess {
    pub(crate) fn new() -> Self {
        Self {
            seen: false,
            number: true,
            truth: true,
            json: true,
        }
    }

    /// Takes one cell into account; cells without a value are not to be given.
    pub(crate) fn see(&mut self, text: &str, quoted: bool) {
        self.seen = true;
        self.number &= !quoted && is_number(text);
        self.truth &= !quoted && is_truth(text);
        self.json = self.json && is_nested(text);
    }

    /// The narrowest type that all cells fit; text when there was none.
    pub(crate) fn column_type(self) -> ColumnType {
        match self {
            Self { seen: false, .. } => ColumnType::Text,
            Self { truth: true, .. } => ColumnType::Truth,
            Self { number: true, .. } => ColumnType::Number,
            Self { json: true, .. } => ColumnType::Json,
            _ => ColumnType::Text,
        }
    }
}

/// Whether the text is a number without needless zeros or signs: `007`, `41.10`, `+1` and `-0` are
/// not, for a version, a price or a code would lose something. `1e3`, which is how some programs
/// write 1000, is one.
pub(crate) fn is_number(text: &str) -> bool {
    found_number(text).is_some()
}

fn found_number(text: &str) -> Option<Decimal> {
    // Everything longer has a form that is shorter, or cannot be kept.
    const BYTES_MAX: usize = 64;
    if text.len() > BYTES_MAX {
        return None;
    }
    let mantissa = text.split(['e', 'E']).next().unwrap_or(text);
    let plain = Decimal::parse(mantissa.as_bytes(), true).ok()?;
    let number = Decimal::parse(text.as_bytes(), true).ok()?;
    (plain.to_string() == mantissa).then_some(number)
}

/// Whether the text is a truth value as we write it.
pub(crate) fn is_truth(text: &str) -> bool {
    matches!(text, "true" | "false")
}

/// Whether the text is a list, a map or binary, in the form in which we write it.
fn is_nested(text: &str) -> bool {
    text.starts_with(['{', '['])
        && json::parse_value(text.as_bytes()).is_ok_and(|value| value.to_string() == text)
}

/// The cell as a value of its column, or what is wrong with it. `null` is what `--null` gave.
pub(crate) fn value(cell: &Cell, column: Column, null: Option<&str>) -> Result<Value, String> {
    let text = cell.text.as_str();
    // Quotes tell an empty text from no value; for other types an empty cell is no value at all.
    let bare = text.is_empty() || Some(text) == null;
    if cell.is_null(null) || (bare && column.kind != ColumnType::Text) {
        return Ok(Value::Null);
    }
    match column.kind {
        ColumnType::Text => Ok(text.into()),
        ColumnType::Number => number(text, column.given),
        ColumnType::Truth => truth(text, column.given),
        ColumnType::Json => json::parse_value(text.as_bytes())
            .map_err(|error| format!("expected JSON, got `{text}`: {error}")),
    }
}

fn number(text: &str, given: bool) -> Result<Value, String> {
    let number = Decimal::parse(text.as_bytes(), true)
        .map_err(|error| format!("expected a number, got `{text}`: {error}"))?;
    if !given && !is_number(text) {
        return Err(format!(
            "expected a number without needless zeros, {number}, got `{text}`: \
             --types decides between number and string"
        ));
    }
    Ok(number.into())
}

fn truth(text: &str, given: bool) -> Result<Value, String> {
    match text {
        "true" => Ok(true.into()),
        "false" => Ok(false.into()),
        "TRUE" | "True" if given => Ok(true.into()),
        "FALSE" | "False" if given => Ok(false.into()),
        _ => Err(format!("expected true or false, got `{text}`")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guess(cells: &[&str]) -> ColumnType {
        let mut guess = Guess::new();
        cells.iter().for_each(|cell| guess.see(cell, false));
        guess.column_type()
    }

    fn as_type(text: &str, kind: ColumnType, given: bool) -> Result<String, String> {
        let cell = Cell {
            text: text.to_owned(),
            quoted: false,
        };
        value(&cell, Column { kind, given }, Some("NA")).map(|value| value.to_string())
    }

    #[test]
    fn a_column_is_as_narrow_as_all_its_cells() {
        for (cells, expected) in [
            (
                &["1", "-2.5", "0", "1e3", "1.5E+05"][..],
                ColumnType::Number,
            ),
            (&["10.357019999999999", "1044"], ColumnType::Number),
            (
                &[
                    "12345678901234567890123456789012345678",
                    "-1.5E-30",
                    "18446744073709551617",
                    "1E+125",
                ],
                ColumnType::Number,
            ),
            (&["true", "false"], ColumnType::Truth),
            (
                &["[1,2]", "{\"a\":null}", "{\"$binary\":\"AP8=\"}"],
                ColumnType::Json,
            ),
            (&["[1,2]", "1"], ColumnType::Text),
            (&["[1, 2]"], ColumnType::Text),
            (&["1", "true"], ColumnType::Text),
            (&["1", "x"], ColumnType::Text),
            (&["04G", "06A"], ColumnType::Text),
            (&["2013-01-01T10:00:00Z"], ColumnType::Text),
            (&[], ColumnType::Text),
        ] {
            assert_eq!(guess(cells), expected, "{cells:?}");
        }
    }

    #[test]
    fn what_would_not_be_written_again_as_it_is_stays_text() {
        for cell in [
            "007",
            "+1",
            "1.",
            ".5",
            "NaN",
            "inf",
            "1_000",
            "0x1f",
            "",
            " 1",
            "1 ",
            "--1",
            "1.0e3",
            "e3",
            "1e",
            "41.10",
            "-0",
            "0.0",
            "1E400",
            "TRUE",
            "123456789012345678901234567890123456789",
        ] {
            assert_eq!(guess(&[cell]), ColumnType::Text, "{cell:?}");
            assert_eq!(guess(&["1", cell]), ColumnType::Text, "{cell:?}");
        }
        assert_eq!(guess(&[&"0".repeat(1 << 20)]), ColumnType::Text);
        let mut guess = Guess::new();
        guess.see("1", true);
        assert_eq!(guess.column_type(), ColumnType::Text, "quotes say text");
    }

    #[test]
    fn cells_become_values_of_their_type() {
        let ok = |text: &str| Ok(text.to_owned());
        for given in [false, true] {
            assert_eq!(as_type("7", ColumnType::Number, given), ok("7"));
            assert_eq!(as_type("1e3", ColumnType::Number, given), ok("1000"));
            assert_eq!(as_type("7", ColumnType::Text, given), ok("\"7\""));
            assert_eq!(as_type("[1]", ColumnType::Json, given), ok("[1]"));
        }
        assert_eq!(as_type("41.10", ColumnType::Number, true), ok("41.1"));
        assert_eq!(as_type("-0", ColumnType::Number, true), ok("0"));
        assert_eq!(as_type("TRUE", ColumnType::Truth, true), ok("true"));
        for (text, kind, given, expected) in [
            (
                "x",
                ColumnType::Number,
                true,
                "expected a number, got `x`: not a decimal number",
            ),
            (
                "123456789012345678901234567890123456789",
                ColumnType::Number,
                true,
                "expected a number, got `123456789012345678901234567890123456789`: \
                 more than 38 significant digits",
            ),
            (
                "1E400",
                ColumnType::Number,
                true,
                "expected a number, got `1E400`: \
                 magnitude above 9.9999999999999999999999999999999999999E+125",
            ),
            (
                "41.10",
                ColumnType::Number,
                false,
                "expected a number without needless zeros, 41.1, got `41.10`: \
                 --types decides between number and string",
            ),
            (
                "yes",
                ColumnType::Truth,
                true,
                "expected true or false, got `yes`",
            ),
            (
                "TRUE",
                ColumnType::Truth,
                false,
                "expected true or false, got `TRUE`",
            ),
            (
                "{\"a\":1,\"a\":2}",
                ColumnType::Json,
                true,
                "expected JSON, got `{\"a\":1,\"a\":2}`: \
                 a: expected a name only once, found it again",
            ),
        ] {
            assert_eq!(
                as_type(text, kind, given),
                Err(expected.to_owned()),
                "{text}"
            );
        }
        for name in ["string", "number", "bool", "json"] {
            assert_eq!(name.parse::<ColumnType>().map(ColumnType::word), Ok(name));
        }
    }

    #[test]
    fn quotes_tell_an_empty_text_from_no_value() {
        for (text, quoted, kind, expected) in [
            ("", false, ColumnType::Text, "null"),
            ("", true, ColumnType::Text, "\"\""),
            ("NA", false, ColumnType::Text, "null"),
            ("NA", true, ColumnType::Text, "\"NA\""),
            ("", true, ColumnType::Number, "null"),
            ("NA", true, ColumnType::Truth, "null"),
            ("NA", false, ColumnType::Json, "null"),
        ] {
            let text = text.to_owned();
            let cell = Cell { text, quoted };
            let column = Column { kind, given: true };
            let got = value(&cell, column, Some("NA")).map(|value| value.to_string());
            assert_eq!(got.as_deref(), Ok(expected), "{cell:?}");
        }
    }
}
