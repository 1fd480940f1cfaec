//! Names for the rarer ways through the protocol, so that a test can see that runs take them.

use tablestore_replication::{Message, Output, PersistRecord, WriteRefused};

/// The rarer ways through the protocol, by what they make a replica do.
pub(crate) fn way_of(output: &Output) -> Option<&'static str> {
    Some(match output {
        Output::Persist {
            record: PersistRecord::Restart(_),
            ..
        } => "log restarted behind a snapshot",
        Output::Send { message, .. } => match message {
            Message::Stale { .. } => "older epoch refused",
            Message::Gap { .. } => "gap reported",
            Message::NoSession { .. } => "no session",
            Message::Synced {
                needs_snapshot: true,
                ..
            } => "no common point",
            _ => return None,
        },
        Output::WriteDone { result, .. } => match result {
            Ok(written) if written.repeated => "repeated request answered",
            Err(WriteRefused::Unknown) => "outcome unknown",
            Err(WriteRefused::NotEnoughReplicas { .. }) => "not enough replicas",
            _ => return None,
        },
        Output::ReadRefused { .. } => "read refused",
        Output::ConfirmByMap { .. } => "office confirmed by the map",
        Output::Propose { joiner, .. } => match joiner {
            Some(_) => "addition proposed",
            None => "removal or withdrawal proposed",
        },
        Output::ReadLog { .. } => "journal read back",
        Output::SendSnapshot { .. } => "snapshot sent",
        Output::InstallSnapshot { .. } => "snapshot installed",
        Output::DropSnapshot { .. } => "snapshot dropped",
        _ => return None,
    })
}
