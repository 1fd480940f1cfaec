//! The one table of errors: for each kind its status, its code, whether state may have changed and
//! what the caller should do. `docs/http-api.md` shows the same table; a test compares them.
//!
//! Knows nothing of when an error is answered.

/// Seconds a client is asked to wait before it repeats a request that could not be served.
pub const RETRY_AFTER_SECONDS: u32 = 1;

/// The kinds of problem.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(
    missing_docs,
    reason = "each kind is described in its row of the table"
)]
pub enum Kind {
    InvalidRequest,
    UnknownField,
    UnknownParameter,
    Forbidden,
    UnknownPath,
    UnknownTable,
    UnknownRow,
    UnknownNode,
    MethodNotAllowed,
    RequestTimeout,
    TableExists,
    Conflict,
    PreconditionFailed,
    TooLarge,
    UriTooLong,
    UnsupportedMediaType,
    RequestIdReused,
    HeadTooLarge,
    Internal,
    NotSupported,
    UnsupportedByStrategy,
    NotApplied,
    OutcomeUnknown,
    NoController,
    NotReady,
    TooManyConnections,
    TooMuchAtOnce,
    StorageFull,
}

/// Whether state may have changed when this problem is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Changed {
    /// Certainly not.
    No,
    /// It may have.
    Maybe,
}

/// One row of the table.
#[derive(Debug)]
pub struct Entry {
    /// Which kind.
    pub kind: Kind,
    /// The HTTP status.
    pub status: u16,
    /// The stable word for programs.
    pub code: &'static str,
    /// What went wrong, in a few words.
    pub title: &'static str,
    /// Whether state may have changed.
    pub changed: Changed,
    /// The value of `Retry-After` in seconds.
    pub retry_after: Option<u32>,
    /// What the caller should do.
    pub advice: &'static str,
}

const fn entry(
    kind: Kind,
    status: u16,
    code: &'static str,
    title: &'static str,
    advice: &'static str,
) -> Entry {
    Entry {
        kind,
        status,
        code,
        title,
        changed: Changed::No,
        retry_after: None,
        advice,
    }
}

const fn unavailable(
    kind: Kind,
    code: &'static str,
    changed: Changed,
    title: &'static str,
    advice: &'static str,
) -> Entry {
    let retry_after = Some(RETRY_AFTER_SECONDS);
    Entry {
        kind,
        status: 503,
        code,
        title,
        changed,
        retry_after,
        advice,
    }
}

/// The table, in the order of [`Kind`].
pub const TABLE: [Entry; 28] = [
    entry(
        Kind::InvalidRequest,
        400,
        "invalid_request",
        "the request is wrong",
        "correct what `field` names; `expected` says what is right",
    ),
    entry(
        Kind::UnknownField,
        400,
        "unknown_field",
        "a field is not known",
        "leave `field` out; `expected` lists the known ones",
    ),
    entry(
        Kind::UnknownParameter,
        400,
        "unknown_parameter",
        "a query parameter is not known",
        "leave `field` out; `expected` lists the known ones",
    ),
    entry(
        Kind::Forbidden,
        403,
        "forbidden",
        "the request comes from a page of another site, or by a name that is not ours",
        "use an address of the node, or give it the name by `--allowed-host`",
    ),
    entry(
        Kind::UnknownPath,
        404,
        "unknown_path",
        "there is nothing at this path",
        "see the paths above",
    ),
    entry(
        Kind::UnknownTable,
        404,
        "unknown_table",
        "there is no such table",
        "create it, or correct the name",
    ),
    entry(
        Kind::UnknownRow,
        404,
        "unknown_row",
        "there is no such row",
        "nothing: this is the answer",
    ),
    entry(
        Kind::UnknownNode,
        404,
        "unknown_node",
        "there is no such node",
        "take a name from `GET /v1/cluster`",
    ),
    entry(
        Kind::MethodNotAllowed,
        405,
        "method_not_allowed",
        "the path does not take this method",
        "use a method of the `Allow` header",
    ),
    entry(
        Kind::RequestTimeout,
        408,
        "request_timeout",
        "the body did not arrive in time",
        "send it again, faster or in smaller parts",
    ),
    entry(
        Kind::TableExists,
        409,
        "table_exists",
        "a table of that name exists with another definition",
        "choose another name, or drop the table first",
    ),
    entry(
        Kind::Conflict,
        409,
        "conflict",
        "a rule of the cluster forbids it",
        "read `detail`, which names the rule",
    ),
    entry(
        Kind::PreconditionFailed,
        412,
        "precondition_failed",
        "the condition does not hold",
        "read the row again and decide anew; `version` is its version (0: there is no row)",
    ),
    entry(
        Kind::TooLarge,
        413,
        "too_large",
        "something is larger than allowed",
        "make what `field` names smaller, or split the batch",
    ),
    entry(
        Kind::UriTooLong,
        414,
        "uri_too_long",
        "the path and the query are too long",
        "shorten them",
    ),
    entry(
        Kind::UnsupportedMediaType,
        415,
        "unsupported_media_type",
        "the body is of a kind that is not taken",
        "send what `expected` says in the header that `field` names",
    ),
    entry(
        Kind::RequestIdReused,
        422,
        "request_id_reused",
        "the request id was used before for another request",
        "use a new `Idempotency-Key` for each request",
    ),
    entry(
        Kind::HeadTooLarge,
        431,
        "head_too_large",
        "the headers are too many or too long",
        "send fewer or shorter ones",
    ),
    Entry {
        kind: Kind::Internal,
        status: 500,
        code: "internal",
        title: "a fault of the node",
        changed: Changed::Maybe,
        retry_after: None,
        advice: "report it with the log of the node; \
                 repeat a write with the same `Idempotency-Key`",
    },
    entry(
        Kind::NotSupported,
        501,
        "not_supported",
        "this is not supported",
        "do without it",
    ),
    entry(
        Kind::UnsupportedByStrategy,
        501,
        "unsupported_by_strategy",
        "the strategy of the table does not do this",
        "do what `expected` says instead of what `field` names",
    ),
    unavailable(
        Kind::NotApplied,
        "not_applied",
        Changed::No,
        "the cluster cannot serve this now",
        "repeat it after `Retry-After`, at any node; `reason` says what is missing",
    ),
    unavailable(
        Kind::OutcomeUnknown,
        "outcome_unknown",
        Changed::Maybe,
        "the outcome is unknown",
        "repeat it with the same `Idempotency-Key`: it takes effect at most once",
    ),
    unavailable(
        Kind::NoController,
        "no_controller",
        Changed::No,
        "the cluster map cannot be read or changed now",
        "repeat it after `Retry-After`; rows of existing tables are served meanwhile",
    ),
    unavailable(
        Kind::NotReady,
        "not_ready",
        Changed::No,
        "the node is not ready to serve",
        "use another node, or wait",
    ),
    unavailable(
        Kind::TooManyConnections,
        "too_many_connections",
        Changed::No,
        "the node has as many connections as it may",
        "reuse connections, or use another node",
    ),
    unavailable(
        Kind::TooMuchAtOnce,
        "too_much_at_once",
        Changed::No,
        "clients make the node hold as much as it may",
        "repeat it after `Retry-After`, in smaller parts, or use another node",
    ),
    entry(
        Kind::StorageFull,
        507,
        "storage_full",
        "the disk of the primary or of a copy that it needs is full",
        "delete rows, which goes on, or add nodes",
    ),
];

impl Kind {
    /// Its row of the table.
    #[must_use]
    pub fn entry(self) -> &'static Entry {
        &TABLE[self as usize]
    }

    /// Its stable word.
    #[must_use]
    pub fn code(self) -> &'static str {
        self.entry().code
    }

    /// The kind of a word; `None` for one that this version does not know.
    #[must_use]
    pub fn of_code(code: &str) -> Option<Self> {
        let entry = TABLE.iter().find(|entry| entry.code == code)?;
        Some(entry.kind)
    }
}

/// The table as `docs/http-api.md` has it.
#[must_use]
pub fn markdown() -> String {
    let mut out = String::from(
        "| status | `code` | what happened | state changed | `Retry-After` | what to do |\n\
         |---|---|---|---|---|---|\n",
    );
    for entry in &TABLE {
        let changed = match entry.changed {
            Changed::No => "no",
            Changed::Maybe => "perhaps",
        };
        let after = entry
            .retry_after
            .map_or_else(|| "–".to_owned(), |s| format!("{s} s"));
        out.push_str(&format!(
            "| {} | `{}` | {} | {changed} | {after} | {} |\n",
            entry.status, entry.code, entry.title, entry.advice
        ));
    }
    out
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::*;

    #[test]
    fn the_table_is_in_the_order_of_its_kinds_and_codes_are_unique() {
        for (position, entry) in TABLE.iter().enumerate() {
            assert_eq!(entry.kind as usize, position, "{:?}", entry.kind);
            assert!(StatusCode::from_u16(entry.status).is_ok());
            assert_eq!(
                entry.status == 503,
                entry.retry_after.is_some(),
                "{}",
                entry.code
            );
        }
        let codes: std::collections::BTreeSet<_> = TABLE.iter().map(|entry| entry.code).collect();
        assert_eq!(codes.len(), TABLE.len());
    }
}
