//! The real data that travels in the binary, as rows.

use std::collections::BTreeMap;
use std::io::Cursor;

use tablestore_client::{Row, RowKey, Value};
use tablestore_verify::{Endpoint, Key, Loaded, Target};

use crate::loading::source::{Format, Reading, Source, unpack};

static AIRPORTS_CSV: &[u8] = include_bytes!(concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../data/airports.csv"
));
static FLIGHTS_CSV: &[u8] = include_bytes!(concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../data/flights-2013-01.csv.gz"
));

/// The table of flights, which writers write.
pub(crate) const FLIGHTS: &str = "flights";
const AIRPORTS: &str = "airports";

/// The partition key of both tables.
const KEY: &str = "id";
/// The sort key of flights.
const SORT_KEY: &str = "time_hour";

/// All airports, keyed by their FAA code.
pub(crate) fn airports() -> Result<Loaded, String> {
    let mut rows = read(AIRPORTS_CSV)?;
    for row in &mut rows {
        let code = row.remove("faa").ok_or("an airport without code")?;
        row.insert(KEY.to_owned(), code);
    }
    Ok(loaded(AIRPORTS, None, rows))
}

/// All flights of January 2013, keyed by carrier and number, then by hour of departure.
pub(crate) fn flights() -> Result<Loaded, String> {
    let mut rows = read(FLIGHTS_CSV)?;
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
    Ok(loaded(FLIGHTS, Some(SORT_KEY), rows))
}

fn loaded(table: &str, sort_key: Option<&str>, rows: Vec<Row>) -> Loaded {
    Loaded {
        table: table.to_owned(),
        partition_key: KEY.to_owned(),
        sort_key: sort_key.map(str::to_owned),
        rows,
    }
}

/// So many of the flights, spread over all of them, for writers to own: by key of the row, and as
/// what is written.
pub(crate) fn targets(
    endpoint: &Endpoint,
    flights: &Loaded,
    count: usize,
) -> (BTreeMap<String, Key>, Vec<Target>) {
    let all = flights.rows.len();
    let count = count.min(all);
    let rows = (0..count).map(|number| &flights.rows[number * all / count]);
    let keys = rows.clone().map(|row| flights.key(row)).zip((0..).map(Key));
    let targets = rows.map(|row| target(endpoint, row));
    (keys.collect(), targets.collect())
}

/// Where and what a writer of flights writes: the row as it was loaded, and a count.
fn target(endpoint: &Endpoint, row: &Row) -> Target {
    let text = |name: &str| {
        row.get(name)
            .and_then(Value::as_str)
            .unwrap_or("")
            .to_owned()
    };
    let key = RowKey::new(text(KEY)).sorted_by(text(SORT_KEY));
    let mut attributes = row.clone();
    attributes.remove(KEY);
    attributes.remove(SORT_KEY);
    endpoint.target(&key, attributes)
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail by panic")]
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_data_is_whole_and_every_row_has_a_key_of_its_own() {
        let airports = airports().unwrap().rows;
        assert_eq!(airports.len(), 1458);
        let codes: BTreeSet<_> = airports.iter().map(|row| row[KEY].to_string()).collect();
        assert_eq!(codes.len(), airports.len());

        let flights = flights().unwrap().rows;
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
    fn a_writer_writes_the_row_as_it_was_loaded_with_a_count() {
        let row = Row::from([
            ("id".to_owned(), "UA1545".into()),
            ("time_hour".to_owned(), "2013-01-01T10:00:00Z".into()),
            ("dep_time".to_owned(), 517.into()),
        ]);
        let endpoint = Endpoint::new(&["127.0.0.1:7"], FLIGHTS).unwrap();
        let target = target(&endpoint, &row);
        assert_eq!(
            target.path(),
            "/v1/tables/flights/rows/UA1545/2013-01-01T10:00:00Z"
        );
        assert_eq!(target.body(1), "{\"dep_time\":517,\"sequence\":1}");
    }
}
