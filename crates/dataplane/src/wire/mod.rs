//! What two data threads say to each other, byte by byte.
//!
//! A frame carries what one turn of the sender produced for one peer, or a part of it: a sequence
//! of messages, each `[u32 length][u8 kind][body]`, little-endian. Knows nothing of sockets; the
//! bodies of replication messages are encoded by `tablestore_replication::codec`.

mod copy;
mod field;
mod frame;
mod reply;

pub(crate) use copy::CopyStep;
pub(crate) use frame::{DataMessage, encode_message};
pub use frame::{Frame, WireError};
