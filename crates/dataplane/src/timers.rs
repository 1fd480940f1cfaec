//! When which replica wants to be told the time: each has at most one place in an ordered set.
//!
//! A deadline that moved away is not taken out at once: the replica is asked again when the old one
//! passes. Knows nothing of what a replica does then.

use std::collections::BTreeSet;
use std::time::Duration;

use tablestore_placement::PartitionId;
use tablestore_replication::Input;
use tablestore_store::Engine;

use crate::plane::Plane;

/// The deadlines of all replicas.
#[derive(Debug, Default)]
pub(crate) struct Timers(BTreeSet<(Duration, PartitionId)>);

impl Timers {
    /// The replica wants to be told at this time; `set` is when it would be told so far.
    pub(crate) fn want(
        &mut self,
        partition: PartitionId,
        set: &mut Option<Duration>,
        wanted: Option<Duration>,
    ) {
        let Some(wanted) = wanted else {
            return;
        };
        match *set {
            Some(at) if at <= wanted => return,
            Some(at) => {
                self.0.remove(&(at, partition));
            }
            None => {}
        }
        self.0.insert((wanted, partition));
        *set = Some(wanted);
    }

    /// The replica is here no more.
    pub(crate) fn forget(&mut self, partition: PartitionId, set: Option<Duration>) {
        if let Some(at) = set {
            self.0.remove(&(at, partition));
        }
    }

    /// A replica whose time has come; it has no place any more.
    pub(crate) fn due(&mut self, now: Duration) -> Option<PartitionId> {
        if self.0.first()?.0 > now {
            return None;
        }
        self.0.pop_first().map(|(_, partition)| partition)
    }

    /// The next time at which somebody is due.
    pub(crate) fn next(&self) -> Option<Duration> {
        self.0.first().map(|(at, _)| *at)
    }
}

impl<E: Engine, W> Plane<E, W> {
    pub(crate) fn tell_the_time(&mut self) {
        let now = self.now.since_start;
        while let Some(partition) = self.timers.due(now) {
            let Some(hosted) = self.replicas.get_mut(&partition) else {
                continue;
            };
            hosted.wakes_at = None;
            if hosted.replica.next_deadline().is_some_and(|at| at <= now) {
                self.feed(partition, Input::Tick);
            } else if !std::mem::replace(&mut hosted.touched, true) {
                self.touched.push(partition);
            }
        }
    }

    pub(crate) fn set_timers(&mut self) {
        while let Some(partition) = self.touched.pop() {
            if let Some(hosted) = self.replicas.get_mut(&partition) {
                hosted.touched = false;
                if !std::mem::replace(&mut hosted.moved, true) {
                    self.moved.push(partition);
                }
                let wanted = hosted.replica.next_deadline();
                self.timers.want(partition, &mut hosted.wakes_at, wanted);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tablestore_placement::TableId;

    #[test]
    fn each_has_one_place_that_moves_forward_at_once_and_back_when_it_passes() {
        let partition = |number| PartitionId::new(TableId(1), number);
        let ms = Duration::from_millis;
        let (mut timers, mut first, mut second) = (Timers::default(), None, None);
        timers.want(partition(1), &mut first, Some(ms(30)));
        timers.want(partition(2), &mut second, Some(ms(20)));
        timers.want(partition(1), &mut first, Some(ms(10)));
        timers.want(partition(1), &mut first, Some(ms(50)));
        timers.want(partition(1), &mut first, None);
        assert_eq!(timers.next(), Some(ms(10)));
        assert_eq!(timers.due(ms(9)), None);
        assert_eq!(timers.due(ms(25)), Some(partition(1)));
        assert_eq!(timers.due(ms(25)), Some(partition(2)));
        assert_eq!(timers.due(ms(99)), None);
        second = None;
        timers.want(partition(2), &mut second, Some(ms(60)));
        timers.forget(partition(2), second);
        assert_eq!(timers.next(), None);
    }
}
