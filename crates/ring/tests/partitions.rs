//! The division of the circle into partitions.

#![allow(
    clippy::unwrap_used,
    reason = "a test that meets the unexpected should stop"
)]

use tablestore_ring::{PARTITION_BITS_MAX, PartitionCountInvalid, PartitionTable, Point};

#[test]
fn every_partition_is_one_range_and_they_follow_each_other() {
    for bits in [0, 1, 5, 10, PARTITION_BITS_MAX] {
        let table = PartitionTable::new(1 << bits).unwrap();
        let last = table.count() - 1;
        for partition in [0, last / 3, last / 2, last] {
            let first = table.point_of_partition(partition);
            assert_eq!(table.partition_of(first), partition);
            if partition > 0 {
                assert_eq!(table.partition_of(Point(first.0 - 1)), partition - 1);
            }
        }
        assert_eq!(table.partition_of(Point::MIN), 0);
        assert_eq!(table.partition_of(Point::MAX), last);
    }
}

#[test]
fn doubling_the_count_splits_every_partition_in_place() {
    let (coarse, fine) = (
        PartitionTable::new(32).unwrap(),
        PartitionTable::new(64).unwrap(),
    );
    for step in 0..1000_u64 {
        let point = Point(step.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        assert_eq!(fine.partition_of(point) / 2, coarse.partition_of(point));
    }
    assert_eq!(coarse.point_of_partition(9), fine.point_of_partition(18));
}

#[test]
fn a_count_that_is_no_power_of_two_or_too_large_is_refused() {
    for count in [0, 3, 33, 1 << (PARTITION_BITS_MAX + 1), u32::MAX] {
        assert_eq!(
            PartitionTable::new(count),
            Err(PartitionCountInvalid { count })
        );
    }
}
