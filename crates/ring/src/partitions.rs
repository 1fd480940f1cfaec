//! A fixed division of the circle into equal parts. Knows nothing about who serves them.

use core::fmt;

use crate::Point;

/// The most bits by which points are divided into partitions: about a million partitions.
///
/// More would make the map that lists them too large to be replicated as one value.
pub const PARTITION_BITS_MAX: u32 = 20;

/// Divides the circle into 2^k equal partitions by the top k bits of a point.
///
/// Top bits rather than a remainder: when the count doubles, partition *p* becomes exactly
/// 2*p* and 2*p* + 1, so a table can split in place.
///
/// ```
/// use tablestore_ring::{PartitionTable, Point};
/// let table = PartitionTable::new(32)?;
/// assert_eq!(table.partition_of(Point(0)), 0);
/// assert_eq!(table.partition_of(Point::MAX), 31);
/// assert_eq!(table.partition_of(table.point_of_partition(7)), 7);
/// # Ok::<(), tablestore_ring::PartitionCountInvalid>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartitionTable {
    bits: u32,
}

impl PartitionTable {
    /// A division into `count` partitions: a power of two of at most [`PARTITION_BITS_MAX`] bits.
    pub fn new(count: u32) -> Result<Self, PartitionCountInvalid> {
        if count.is_power_of_two() && count.trailing_zeros() <= PARTITION_BITS_MAX {
            Ok(Self {
                bits: count.trailing_zeros(),
            })
        } else {
            Err(PartitionCountInvalid { count })
        }
    }

    /// How many partitions there are.
    pub fn count(self) -> u32 {
        1 << self.bits
    }

    /// The partition in which `point` lies.
    #[inline]
    pub fn partition_of(self, point: Point) -> u32 {
        // One partition would ask for a shift by 64, hence the step in between.
        ((point.0 >> 32) >> (32 - self.bits)) as u32
    }

    /// The first point of `partition`.
    ///
    /// # Panics
    ///
    /// If there is no such partition.
    pub fn point_of_partition(self, partition: u32) -> Point {
        assert!(
            partition < self.count(),
            "partition {partition} of {}",
            self.count()
        );
        Point((u64::from(partition) << (32 - self.bits)) << 32)
    }
}

/// The number of partitions was not a power of two, or too large; nothing was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartitionCountInvalid {
    /// The number that was asked for.
    pub count: u32,
}

impl fmt::Display for PartitionCountInvalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count_max = 1_u32 << PARTITION_BITS_MAX;
        write!(
            f,
            "{} is not a power of two between 1 and {count_max}",
            self.count
        )
    }
}

impl core::error::Error for PartitionCountInvalid {}
