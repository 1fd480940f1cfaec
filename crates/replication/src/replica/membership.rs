//! When a primary asks for another in-sync set: who lags leaves, who keeps up joins. Knows
//! nothing of how a proposal is followed up (see `in_sync`).

use tablestore_placement::{Office, StorageId};

use crate::replica::core::Core;
use crate::replica::follower::Follower;
use crate::replica::primary::Primary;
use crate::types::Now;

impl Primary {
    /// Changes of the in-sync set that are due: one at a time, removals first.
    pub(crate) fn propose(&mut self, core: &mut Core) {
        if self.in_sync.is_pending() {
            self.withdraw_if_stuck(core);
            return;
        }
        if !self.in_sync.may_propose(core) {
            return;
        }
        if let Some(laggard) = self.laggard(core) {
            let set = self.in_sync.committed.iter().copied();
            let set = set.filter(|member| *member != laggard).collect();
            self.in_sync.propose(core, set, None);
        } else if let Some(joiner) = self.joiner(core) {
            let mut set = self.in_sync.committed.clone();
            set.push(joiner.member);
            self.in_sync.propose(core, set, Some(joiner));
        }
    }

    /// A pending addition whose joiner fails would hold up all writes.
    fn withdraw_if_stuck(&mut self, core: &mut Core) {
        let Some(joiner) = self.in_sync.joiner().map(|office| office.member) else {
            return;
        };
        let down = core.down.contains_key(&joiner);
        let lags = self
            .followers
            .get(&joiner)
            .and_then(Follower::waited_for_since)
            .is_some_and(|since| since + core.settings.lag_timeout <= core.now);
        let stuck = down || lags || self.in_sync.is_overdue(core);
        if stuck && self.in_sync.is_withdrawable(core) {
            self.in_sync.withdraw(core);
        }
    }

    pub(crate) fn may_shrink(&self, core: &Core) -> bool {
        let needed = core.view.as_ref().map_or(1, |view| view.in_sync_min).max(1);
        self.in_sync.committed.len() as u32 > needed
    }

    /// The in-sync member that entries have waited for longest, if for too long.
    fn laggard(&self, core: &Core) -> Option<StorageId> {
        if !self.may_shrink(core) {
            return None;
        }
        self.lag_times(core)
            .min()
            .filter(|(until, _)| *until <= core.now)
            .map(|(_, member)| member)
    }

    /// Until when entries wait for each in-sync member that has not acknowledged them.
    pub(crate) fn lag_times(&self, core: &Core) -> impl Iterator<Item = (Now, StorageId)> {
        let members = self.in_sync.committed.iter();
        members.filter_map(|member| {
            let since = self.followers.get(member)?.waited_for_since()?;
            let lags = since + core.settings.lag_timeout;
            // The host has waited before it said that the session is lost.
            let down = core.down.get(member);
            let lost = down.map(|down| since.max(*down) + core.settings.lost_timeout);
            Some((lost.map_or(lags, |lost| lost.min(lags)), *member))
        })
    }

    /// A learner that keeps up, in the start that does.
    fn joiner(&self, core: &Core) -> Option<Office> {
        let view = core.view.as_ref()?;
        // Only from then on can the primary of an older epoch commit nothing any more, which it
        // might do without the joiner.
        let epoch_is_durable = core.pending.durable() >= self.epoch_start;
        if self.resigning.is_some() || !epoch_is_durable {
            return None;
        }
        let candidates = view.assignment.replicas.iter().copied();
        candidates
            .filter(|member| !self.in_sync.committed.contains(member))
            .filter(|member| !view.unreachable.contains(member) && !core.down.contains_key(member))
            .find_map(|member| {
                // Who has the whole inherited log has all that may be committed, even before
                // this primary can tell how much of it is.
                let follower = self.followers.get(&member)?;
                let is_whole = follower.matched >= self.epoch_start && follower.is_caught_up(core);
                follower.start().filter(|_| is_whole)
            })
    }
}
