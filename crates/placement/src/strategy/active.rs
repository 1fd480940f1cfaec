//! The strategy of tables that every replica serves: nobody holds an office, so nothing moves when
//! a member fails. Knows nothing of versions and quorums.

use super::{DataPath, Happening, NewTable, Reaction, Strategy};
use crate::plan::first_assignments;
use crate::{ClusterMap, NextAssignment, Table};

/// Replicas by layout, all of equal rank.
#[derive(Clone, Copy, Debug, Default)]
pub struct Active;

impl Strategy for Active {
    fn data_path(&self) -> DataPath {
        DataPath::Active
    }

    fn assign(&self, map: &ClusterMap, table: &NewTable<'_>) -> Vec<NextAssignment> {
        let mut all = first_assignments(map, table);
        all.iter_mut().for_each(|next| next.primary = None);
        all
    }

    /// Nothing: the replicas of the dead stay and catch up when they are back, and the others go on
    /// without them.
    fn react(&self, _: &ClusterMap, _: &Table, _: &Happening<'_>) -> Vec<Reaction> {
        Vec::new()
    }
}
