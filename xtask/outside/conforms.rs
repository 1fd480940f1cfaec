//! What a package outside of this workspace, which depends on `tablestore-placement` alone, is told
//! of its strategies. `cargo xtask outside` puts it beside the strategy of the example.

use std::sync::Arc;

use outside::OtherRegion;
use tablestore_placement::conformance;
use tablestore_placement::{
    ClusterMap, DataPath, Happening, NewTable, NextAssignment, PrimaryBackup, Reaction, Strategy,
    Table,
};

/// Says that a new table's primaries are in no in-sync set.
#[derive(Debug)]
struct PrimaryOutside;

impl Strategy for PrimaryOutside {
    fn data_path(&self) -> DataPath {
        DataPath::PrimaryBackup
    }

    fn assign(&self, map: &ClusterMap, table: &NewTable<'_>) -> Vec<NextAssignment> {
        let mut assignments = PrimaryBackup.assign(map, table);
        for next in assignments.iter_mut().filter(|next| next.in_sync.len() > 1) {
            next.in_sync.retain(|member| next.primary != Some(*member));
        }
        assignments
    }

    fn react(&self, map: &ClusterMap, table: &Table, happening: &Happening<'_>) -> Vec<Reaction> {
        PrimaryBackup.react(map, table, happening)
    }
}

#[test]
fn a_good_strategy_conforms() {
    let passed = conformance::strategy(&Arc::new(OtherRegion)).expect("it keeps the rules");
    assert!(passed.happenings > 2_000);
}

#[test]
fn a_bad_one_is_refused_by_the_name_of_the_rule() {
    let refused = conformance::strategy(&Arc::new(PrimaryOutside)).expect_err("it breaks one");
    let text = refused.to_string();
    assert!(text.contains("primary_in_sync"), "{text}");
}
