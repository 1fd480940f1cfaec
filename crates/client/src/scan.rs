//! Scans: a page, or all pages one after the other.

use tablestore_contract::{PAGE_NEXT_CURSOR, PAGE_ROWS};
use tablestore_item::{DEPTH_MAX, FieldError, Value, json};

use crate::call::Call;
use crate::key::encode;
use crate::tables::table_path;
use crate::{CallError, Client, Consistency, Row};

/// What to scan.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ScanOptions {
    /// Only rows of this partition key, in the order of their sort keys.
    pub partition: Option<String>,
    /// First sort key, inclusive.
    pub from: Option<String>,
    /// Last sort key, inclusive.
    pub to: Option<String>,
    /// From the last sort key to the first; needs `partition`.
    pub reverse: bool,
    /// Rows a page at most; `None` leaves it to the server.
    pub page_rows: Option<usize>,
    /// How fresh.
    pub consistency: Consistency,
}

/// One page of a scan.
pub type Page = tablestore_contract::Page<Row>;

/// Levels above the rows of a page: its object and its list.
const DEPTH_OF_ROWS: usize = 2;

/// The pages of a scan, each fetched when it is asked for.
#[derive(Debug)]
pub struct ScanPages {
    client: Client,
    table: String,
    options: ScanOptions,
    next: Next,
}

#[derive(Debug)]
enum Next {
    First,
    From(String),
    End,
}

impl ScanPages {
    /// The next page; `None` after the last.
    ///
    /// # Errors
    /// See [`CallError`]. The same page can be asked for again.
    pub async fn next(&mut self) -> Result<Option<Vec<Row>>, CallError> {
        let cursor = match &self.next {
            Next::First => None,
            Next::From(cursor) => Some(cursor.as_str()),
            Next::End => return Ok(None),
        };
        let page = self
            .client
            .scan_page(&self.table, &self.options, cursor)
            .await?;
        self.next = page.next_cursor.map_or(Next::End, Next::From);
        Ok(Some(page.rows))
    }

    /// All rows that are left, in memory.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn collect(mut self) -> Result<Vec<Row>, CallError> {
        let mut rows = Vec::new();
        while let Some(page) = self.next().await? {
            rows.extend(page);
        }
        Ok(rows)
    }
}

impl Client {
    /// One page from `cursor` on, or from the beginning.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn scan_page(
        &self,
        table: &str,
        options: &ScanOptions,
        cursor: Option<&str>,
    ) -> Result<Page, CallError> {
        let mut target = format!(
            "{}/rows?consistency={}",
            table_path(table)?,
            options.consistency.word()
        );
        let limit = options.page_rows.map(|rows| rows.to_string());
        for (name, value) in [
            ("pk", options.partition.as_deref()),
            ("from", options.from.as_deref()),
            ("to", options.to.as_deref()),
            ("reverse", options.reverse.then_some("true")),
            ("limit", limit.as_deref()),
            ("cursor", cursor),
        ] {
            if let Some(value) = value {
                target.push_str(&format!("&{name}={}", encode(value)));
            }
        }
        let answer = self.inner.call(&Call::read(target)).await?;
        page(&answer.body).map_err(|error| answer.malformed("scan", error))
    }

    /// All pages, fetched one by one.
    #[must_use]
    pub fn scan(&self, table: &str, options: ScanOptions) -> ScanPages {
        ScanPages {
            client: self.clone(),
            table: table.to_owned(),
            options,
            next: Next::First,
        }
    }
}

fn page(body: &[u8]) -> Result<Page, FieldError> {
    let mut fields = match json::parse_nested(body, DEPTH_MAX + DEPTH_OF_ROWS)? {
        Value::Map(fields) => fields,
        other => return Err(FieldError::new("an object", other.kind())),
    };
    let rows = match fields.remove(PAGE_ROWS) {
        Some(Value::List(rows)) => rows,
        other => return Err(wrong(PAGE_ROWS, "a list", other)),
    };
    let row = |(position, row)| match row {
        Value::Map(row) => Ok(row),
        other => Err(wrong("", "an object", Some(other))
            .within_list(position)
            .within(PAGE_ROWS)),
    };
    let rows = rows
        .into_iter()
        .enumerate()
        .map(row)
        .collect::<Result<_, _>>()?;
    let next_cursor = match fields.remove(PAGE_NEXT_CURSOR) {
        Some(Value::String(cursor)) => Some(cursor),
        None | Some(Value::Null) => None,
        other => return Err(wrong(PAGE_NEXT_CURSOR, "a string", other)),
    };
    Ok(Page { rows, next_cursor })
}

fn wrong(name: &str, expected: &'static str, found: Option<Value>) -> FieldError {
    let found = found.map_or("nothing", |value| value.kind());
    FieldError::new(expected, found).within(name)
}
