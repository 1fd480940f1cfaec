//! Scans: a page, or all pages one after the other.

use serde::Deserialize;

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
    /// Rows a page at most; `None` leaves it to the server.
    pub page_rows: Option<usize>,
    /// How fresh.
    pub consistency: Consistency,
}

/// One page of a scan.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Page {
    /// Keys and attributes.
    pub rows: Vec<Row>,
    /// Where to go on; `None` at the end.
    #[serde(default)]
    pub next_cursor: Option<String>,
}

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
            ("limit", limit.as_deref()),
            ("cursor", cursor),
        ] {
            if let Some(value) = value {
                target.push_str(&format!("&{name}={}", encode(value)));
            }
        }
        self.inner.call(&Call::read(target)).await?.json("scan")
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
