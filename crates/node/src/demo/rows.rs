//! The real data that travels in the binary, as rows.

use std::io::Cursor;

use tablestore_client::{Row, Value};

use crate::cli::import::source::{Format, Reading, Source, unpack};

static AIRPORTS: &[u8] = include_bytes!(concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../data/airports.csv"
));
static FLIGHTS: &[u8] = include_bytes!(concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../data/flights-2013-01.csv.gz"
));

/// The attribute that writers count up.
pub(crate) const SEQUENCE: &str = "sequence";
/// The partition key of both tables.
pub(crate) const KEY: &str = "id";
/// The sort key of flights.
pub(crate) const SORT_KEY: &str = "time_hour";

/// All airports, keyed by their FAA code.
pub(crate) fn airports() -> Result<Vec<Row>, String> {
    let mut rows = read(AIRPORTS)?;
    for row in &mut rows {
        let code = row.remove("faa").ok_or("an airport without code")?;
        row.insert(KEY.to_owned(), code);
    }
    Ok(rows)
}

/// All flights of January 2013, keyed by carrier and number, then by hour of departure.
pub(crate) fn flights() -> Result<Vec<Row>, String> {
    let mut rows = read(FLIGHTS)?;
    for row in &mut rows {
        let text = |name: &str| {
            row.get(name)
                .map(|value| value.to_string().replace('"', ""))
        };
        let (carrier, flight) = text("carrier")
            .zip(text("flight"))
            .ok_or("a flight without name")?;
        row.insert(KEY.to_owned(), Value::String(format!("{carrier}{flight}")));
    }
    Ok(rows)
}

fn read(data: &'static [u8]) -> Result<Vec<Row>, String> {
    let input = unpack(Cursor::new(data)).map_err(|error| error.to_string())?;
    let reading = Reading {
        null: Some("NA".to_owned()),
        ..Reading::default()
    };
    Source::new(input, Format::Csv, &reading)?
        .map(|row| {
            row.map(|numbered| numbered.row)
                .map_err(|rejected| rejected.reason)
        })
        .collect()
}

/// Whether a row that was read back is the one that was loaded; the writers' count is not compared.
pub(crate) fn same(loaded: &Row, found: &Row) -> bool {
    let counted = usize::from(found.contains_key(SEQUENCE));
    found.len() == loaded.len() + counted
        && loaded
            .iter()
            .all(|(name, value)| found.get(name) == Some(value))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail by panic")]
    use std::collections::BTreeSet;

    use tablestore_client::json::parse_object;

    use super::*;

    #[test]
    fn the_data_is_whole_and_every_row_has_a_key_of_its_own() {
        let airports = airports().unwrap();
        assert_eq!(airports.len(), 1458);
        let codes: BTreeSet<_> = airports.iter().map(|row| row[KEY].to_string()).collect();
        assert_eq!(codes.len(), airports.len());

        let flights = flights().unwrap();
        assert_eq!(flights.len(), 27004);
        let keys: BTreeSet<_> = flights
            .iter()
            .map(|row| (row[KEY].to_string(), row[SORT_KEY].to_string()))
            .collect();
        assert_eq!(keys.len(), flights.len());
        let first = &flights[0];
        assert_eq!(
            (&first[KEY], &first["dep_time"]),
            (&"UA1545".into(), &517.into())
        );
        assert!(
            flights.iter().any(|row| row["dep_time"] == Value::Null),
            "NA is no value"
        );
    }

    #[test]
    fn a_row_is_compared_by_value_without_the_count() {
        let row = |text: &str| parse_object(text.as_bytes()).unwrap();
        let loaded = row(r#"{"id": "a", "n": 10, "x": null}"#);
        assert!(same(&loaded, &row(r#"{"id": "a", "n": 10.0, "x": null}"#)));
        assert!(same(
            &loaded,
            &row(r#"{"id": "a", "n": 10, "x": null, "sequence": 4}"#)
        ));
        assert!(!same(&loaded, &row(r#"{"id": "a", "n": 11, "x": null}"#)));
        assert!(!same(&loaded, &row(r#"{"id": "a", "n": 10}"#)));
        assert!(!same(
            &loaded,
            &row(r#"{"id": "a", "n": 10, "x": null, "y": 1}"#)
        ));
        // One f64 for both, but not one number.
        let digits = |last: u32| row(&format!("{{\"n\":1234567890123456789{last}}}"));
        assert!(!same(&digits(1), &digits(2)));
    }
}
