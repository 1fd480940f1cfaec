//! Whether a cluster keeps its word: every acknowledged write is there, no strong read goes back in
//! time, and all copies are equal.
//!
//! [`Traffic`] writes and reads at an [`Endpoint`] while things happen to its nodes. A [`Ledger`]
//! keeps what was acknowledged and judges what is read; [`Findings`] says what is wrong at the end,
//! and [`pauses`] how long clients had to wait. Nobody is believed: what a cluster says about
//! itself decides nothing. The crate knows nothing of how nodes work, who starts and who ends them.
//!
//! ```no_run
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! use std::time::Duration;
//! use tablestore_client::{Client, Row, RowKey};
//! use tablestore_verify::{Endpoint, Findings, Ledger, Load, Traffic};
//!
//! // A table that is there and has no rows of these keys.
//! let nodes = ["http://127.0.0.1:7001", "http://127.0.0.1:7011"];
//! let endpoint = Endpoint::new(&nodes, "rehearsal")?;
//! let target = |n| endpoint.target(&RowKey::new(format!("k{n}")), Row::new());
//! let targets: Vec<_> = (0..256).map(target).collect();
//! let load = Load {
//!     writers: 16,
//!     readers: 4,
//!     pace: Duration::from_millis(2),
//!     attempt_timeout: Duration::from_millis(20),
//! };
//! let ledger = Ledger::absent(targets.len());
//! let mut traffic = Traffic::start(endpoint.clone(), targets.clone(), ledger, load);
//!
//! // Here nodes are killed, disks filled, cables drawn.
//!
//! let within = Duration::from_secs(60);
//! traffic.stop(within).await;
//! let mut findings = Findings::default();
//! findings.wrong_reads(&traffic);
//! findings.targets(&endpoint, &targets, &traffic.ledger(), within).await?;
//! findings.copies(&Client::connect(endpoint.addresses())?, endpoint.table()).await?;
//! assert!(findings.fine(), "{findings:?}");
//! # Ok(()) }
//! ```

mod checks;
mod endpoint;
#[cfg(test)]
mod fake;
pub mod http;
mod lane;
mod ledger;
pub mod pauses;
mod traffic;

pub use checks::{Findings, Loaded, ReadBackError};
pub use endpoint::{Endpoint, EndpointError, SEQUENCE, Target, observed};
pub use ledger::{Floor, Key, Ledger, Observed, Wrong};
pub use traffic::{Load, Traffic, WrongRead};
