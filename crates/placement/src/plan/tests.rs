//! Plans: snapshots to read, and even spreads against brute force.
#![expect(clippy::unwrap_used, reason = "tests")]
mod active;
mod altering;
mod certified;
mod convergence;
mod obstacles;
mod oracle;
mod random;
mod settling;
mod snapshots;

use proptest::prelude::ProptestConfig;

/// Failures print the shrunk input; nothing is written beside the sources.
fn config(cases: u32) -> ProptestConfig {
    ProptestConfig {
        cases,
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}
