//! Applying one mutation to one row that the caller has at hand, for whoever keeps rows elsewhere
//! than in an [`Engine`](crate::engine::Engine). The same rules, the same bytes.

use super::{Applied, ApplyError, Condition, Effect, Pending, Request, change, row_version};
use crate::item::codec::CodecError;

/// What is to become of a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RowChange {
    /// It stays as it is.
    Keep,
    /// It has this value, version included.
    Put(Vec<u8>),
    /// It is gone.
    Delete,
}

/// Whether [`apply_to_row`] needs the row as it is to apply an encoded mutation.
///
/// # Errors
/// If the bytes are not a mutation.
pub fn reads_row(payload: &[u8]) -> Result<bool, CodecError> {
    Ok(Request::parse(payload)?.reads())
}

/// Applies an encoded mutation to the `current` value of its row, under a version: `index`.
///
/// # Errors
/// If the mutation or the row cannot be understood. Nothing is to be changed then.
pub fn apply_to_row(
    index: u64,
    payload: &[u8],
    current: Option<&[u8]>,
) -> Result<(Applied, RowChange), ApplyError> {
    let request = Request::parse(payload).map_err(|source| ApplyError::Entry { index, source })?;
    let mut pending = Pending::default();
    let applied = answer(index, &request, current, &mut pending)?;
    let change = match pending.writes.pop() {
        None => RowChange::Keep,
        Some((_, None)) => RowChange::Delete,
        Some((_, Some(_))) => RowChange::Put(pending.values),
    };
    Ok((applied, change))
}

/// Changes the row if the condition holds.
pub(super) fn answer<'a>(
    index: u64,
    request: &Request<'a>,
    current: Option<&[u8]>,
    pending: &mut Pending<'a>,
) -> Result<Applied, ApplyError> {
    let version = match current {
        Some(value) => Some(row_version(index, value)?),
        None => None,
    };
    if !holds(request.condition, version) {
        return Ok(Applied {
            effect: Effect::ConditionFailed,
            version: version.unwrap_or(0),
        });
    }
    change(index, request, current, pending)
}

fn holds(condition: Condition, version: Option<u64>) -> bool {
    match condition {
        Condition::None => true,
        Condition::IfVersion(wanted) => version == Some(wanted),
        Condition::IfAbsent => version.is_none(),
        Condition::IfPresent => version.is_some(),
    }
}
