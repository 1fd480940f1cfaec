//! The identifiers of the cluster as types of their own, so that a storage id is never taken for
//! an incarnation. Knows nothing about what the identifiers stand for.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Declares a newtype over an unsigned integer with the derives that every identifier has.
macro_rules! identifier {
    ($(#[$doc:meta])* $name:ident($inner:ty), $format:literal) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize,
            Deserialize,
        )]
        #[serde(transparent)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, $format, self.0)
            }
        }
    };
}

identifier!(
    /// A cluster, random, written when it is founded.
    ClusterId(u64), "{:016x}"
);
identifier!(
    /// A data directory, random, made with it; also the node's id in the raft group. Never reused.
    StorageId(u64), "{:016x}"
);
identifier!(
    /// One start of a node on its data directory; stored there, one more at every start.
    Incarnation(u64), "{}"
);
identifier!(
    /// A term of office of a partition's primary. `Epoch(0)` is never assigned.
    Epoch(u64), "{}"
);
identifier!(
    /// A table; given from a counter in the map and never reused.
    TableId(u32), "{}"
);
identifier!(
    /// The version of the cluster map: one more at every applied command.
    MapVersion(u64), "{}"
);
identifier!(
    /// The version of one partition's assignment: one more at every change of it.
    AssignmentVersion(u64), "{}"
);

impl Epoch {
    /// The epoch that follows this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl AssignmentVersion {
    /// The version that follows this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl MapVersion {
    /// The version that follows this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

/// One partition of one table. Shown as `table/partition`, for example `3/17`.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct PartitionId {
    /// The table.
    pub table: TableId,
    /// The number of the partition in its table, from 0.
    pub partition: u32,
}

impl PartitionId {
    /// The partition `partition` of `table`.
    #[must_use]
    pub fn new(table: TableId, partition: u32) -> Self {
        Self { table, partition }
    }

    /// One number for both parts: the table in the upper half, the partition in the lower.
    #[must_use]
    pub fn to_u64(self) -> u64 {
        u64::from(self.table.0) << 32 | u64::from(self.partition)
    }

    /// The inverse of [`PartitionId::to_u64`].
    #[must_use]
    pub fn from_u64(number: u64) -> Self {
        let table = TableId((number >> 32) as u32);
        Self {
            table,
            partition: (number & u64::from(u32::MAX)) as u32,
        }
    }
}

impl fmt::Display for PartitionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.table, self.partition)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_id_survives_the_way_through_one_number() {
        for (table, partition) in [(0, 0), (3, 17), (u32::MAX, u32::MAX), (1, 0)] {
            let id = PartitionId::new(TableId(table), partition);
            assert_eq!(PartitionId::from_u64(id.to_u64()), id);
        }
        assert_eq!(PartitionId::new(TableId(3), 17).to_u64(), 3 << 32 | 17);
    }

    #[test]
    fn ids_are_shown_as_people_read_them() {
        assert_eq!(PartitionId::new(TableId(3), 17).to_string(), "3/17");
        assert_eq!(StorageId(0xab).to_string(), "00000000000000ab");
        assert_eq!(Incarnation(7).to_string(), "7");
    }
}
