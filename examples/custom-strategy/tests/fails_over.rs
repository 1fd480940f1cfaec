//! The strategy keeps the rules of its kind, and the program does what it says.
#![expect(clippy::unwrap_used, reason = "a failure is the test's result")]

use std::process::Command;
use std::sync::Arc;

use custom_strategy::OtherRegion;
use tablestore_placement::conformance;

#[test]
fn the_strategy_conforms() {
    let passed = conformance::strategy(&Arc::new(OtherRegion)).unwrap();
    assert!(passed.happenings > 2_000);
}

#[test]
fn a_killed_primary_is_followed_by_one_in_the_other_region() {
    let program = env!("CARGO_BIN_EXE_custom-strategy");
    let output = Command::new(program).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}{errors}");
    assert!(text.contains("all 200 rows were read"), "{text}");
    assert!(text.ends_with(" now\n"), "{text}{errors}");
}
