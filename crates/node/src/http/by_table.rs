//! How long requests for rows take, by table and by whether they read or write.
//!
//! Names of tables are chosen outside, so only so many have times of their own. Knows nothing of
//! how a request is answered.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::shared::Counted;
use crate::metrics::{Histogram, Metrics};

/// Tables with times of their own, those of the first requests since this start. Each costs some
/// forty lines whenever metrics are read.
const TABLES_MAX: usize = 100;
/// What all others together are called.
const OTHER: &str = "other";

/// Of reads and of writes.
type Times = [Arc<Histogram>; 2];

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct ByTable(Mutex<BTreeMap<Box<str>, Times>>);

impl ByTable {
    /// Counts a request for rows of a table that there is.
    pub(crate) fn observe(&self, metrics: &Metrics, table: &str, counted: Counted, took: Duration) {
        let access = match counted {
            Counted::Get | Counted::Scan => 0,
            Counted::Put | Counted::Patch | Counted::Delete | Counted::Batch => 1,
            Counted::Other => return,
        };
        let mut tables = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let has_room = tables.len() < TABLES_MAX || tables.contains_key(table);
        let name = if has_room { table } else { OTHER };
        if let Some(times) = tables.get(name) {
            times[access].observe(took);
            return;
        }
        let times = ["read", "write"].map(|access| {
            let help = "Time from a request's head to its answer, of requests for rows.";
            let labels = [("table", name), ("access", access)];
            metrics.histogram("tablestore_table_request_seconds", help, &labels)
        });
        times[access].observe(took);
        tables.insert(name.into(), times);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_hundred_tables_have_times_of_their_own_and_the_rest_share() {
        let (metrics, by_table) = (Metrics::new(), ByTable::default());
        for number in 0..TABLES_MAX + 20 {
            let table = format!("t{number}");
            let took = Duration::from_millis(1);
            by_table.observe(&metrics, &table, Counted::Get, took);
            by_table.observe(&metrics, &table, Counted::Batch, took);
            by_table.observe(&metrics, &table, Counted::Other, took);
        }
        by_table.observe(&metrics, "t0", Counted::Put, Duration::from_millis(1));
        let text = metrics.render();
        for (labels, count) in [
            (r#"table="t0",access="read""#, 1),
            (r#"table="t0",access="write""#, 2),
            (r#"table="t99",access="read""#, 1),
            (r#"table="other",access="read""#, 20),
            (r#"table="other",access="write""#, 20),
        ] {
            let line = format!("tablestore_table_request_seconds_count{{{labels}}} {count}\n");
            assert!(text.contains(&line), "{line} is not in\n{text}");
        }
        assert!(!text.contains(r#"table="t100""#));
    }
}
