//! Which type the columns of a text file have, found from a sample, and cells as JSON values.
//!
//! Knows nothing of files: a cell is text.

use std::str::FromStr;

use serde_json::{Number, Value};

/// Digits up to which every decimal survives a binary floating-point number unchanged.
const DIGITS_EXACT: usize = 15;

/// The type of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ColumnType {
    Text,
    Number,
    Truth,
    /// Lists and maps, written as JSON.
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

/// What the cells of one column seen so far allow.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Guess {
    seen: bool,
    number: bool,
    truth: bool,
}

impl Guess {
    pub(crate) fn new() -> Self {
        Self {
            seen: false,
            number: true,
            truth: true,
        }
    }

    /// Takes one cell into account; cells without a value say nothing.
    pub(crate) fn see(&mut self, cell: &str) {
        self.seen = true;
        self.number &= number(cell).is_some();
        self.truth &= truth(cell).is_some();
    }

    /// The narrowest type that all cells fit; text when there was none.
    pub(crate) fn column_type(self) -> ColumnType {
        match (self.seen, self.truth, self.number) {
            (true, true, _) => ColumnType::Truth,
            (true, _, true) => ColumnType::Number,
            _ => ColumnType::Text,
        }
    }
}

/// The cell as a value of its column's type, or what was expected.
pub(crate) fn value(cell: &str, column_type: ColumnType) -> Result<Value, &'static str> {
    match column_type {
        ColumnType::Text => Ok(Value::String(cell.to_owned())),
        ColumnType::Number => number(cell).map(Value::Number).ok_or("a number"),
        ColumnType::Truth => truth(cell).map(Value::Bool).ok_or("true or false"),
        ColumnType::Json => serde_json::from_str(cell).map_err(|_| "JSON"),
    }
}

fn truth(cell: &str) -> Option<bool> {
    match cell {
        "true" | "TRUE" | "True" => Some(true),
        "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

/// A number, unless writing it as one would change it: `007` and `+1` are text, and so is what
/// has more digits than can be carried.
fn number(cell: &str) -> Option<Number> {
    if cell.starts_with(char::is_whitespace) || cell.ends_with(char::is_whitespace) {
        return None;
    }
    let number: Number = serde_json::from_str(cell).ok()?;
    if number.to_string() == cell {
        return Some(number);
    }
    // JSON's own reader may be off by the last bit, the standard library's is not.
    let nearest = Number::from_f64(cell.parse().ok()?)?;
    let mantissa = cell.split(['e', 'E']).next().unwrap_or(cell);
    let digits = mantissa.bytes().filter(u8::is_ascii_digit).count();
    (digits <= DIGITS_EXACT || nearest.to_string() == cell).then_some(nearest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guess(cells: &[&str]) -> ColumnType {
        let mut guess = Guess::new();
        cells.iter().for_each(|cell| guess.see(cell));
        guess.column_type()
    }

    #[test]
    fn a_column_is_as_narrow_as_all_its_cells() {
        for (cells, expected) in [
            (&["1", "-2.5", "0", "1e3"][..], ColumnType::Number),
            (&["10.357019999999999", "1044"], ColumnType::Number),
            (&["true", "FALSE"], ColumnType::Truth),
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
    fn what_only_looks_like_a_number_stays_text() {
        for cell in [
            "007", "+1", "1.", ".5", "NaN", "inf", "1_000", "0x1f", "", " 1", "1 ", "--1",
        ] {
            assert_eq!(guess(&[cell]), ColumnType::Text, "{cell:?}");
        }
        assert_eq!(
            guess(&["123456789012345678901"]),
            ColumnType::Text,
            "digits would be lost"
        );
        assert_eq!(guess(&["18446744073709551615"]), ColumnType::Number);
    }

    #[test]
    fn cells_become_values_of_their_type() {
        assert_eq!(value("7", ColumnType::Number), Ok(Value::from(7)));
        assert_eq!(value("7", ColumnType::Text), Ok(Value::from("7")));
        assert_eq!(value("x", ColumnType::Number), Err("a number"));
        assert_eq!(value("yes", ColumnType::Truth), Err("true or false"));
        assert_eq!(value("[1]", ColumnType::Json), Ok(serde_json::json!([1])));
        assert_eq!(value("[1", ColumnType::Json), Err("JSON"));
        for name in ["string", "number", "bool", "json"] {
            assert_eq!(name.parse::<ColumnType>().map(ColumnType::word), Ok(name));
        }
    }
}
