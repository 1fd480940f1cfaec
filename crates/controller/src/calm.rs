//! What can wait until nobody dies: making the cluster whole and even again, one plan at a time.
//!
//! The most urgent plan that has something to do is proposed; the next one is computed from the
//! map that follows. Knows nothing of how failures are noticed.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tablestore_health::Belief;
use tablestore_placement::plan::{self, CopyCaps, OfficeCaps, Plan};
use tablestore_placement::{
    Assignment, ClusterMap, Decision, DecisionKind, Incarnation, MemberState, Reports, StorageId,
    TableDefinition,
};

use crate::looked::Search;
use crate::stopped::reports;
use crate::{Controller, NoticeKind};

/// No balancing within this time after anything changed.
const CALM_FOR: Duration = Duration::from_millis(1_000);
/// A member is given no office by balancing before it has been whole for this long.
const WHOLE_FOR: Duration = Duration::from_secs(5);
/// Offices moved by one plan.
const MOVES_MAX: usize = 8;

fn caps(unfit: BTreeSet<StorageId>) -> OfficeCaps {
    OfficeCaps {
        moves_max: MOVES_MAX,
        resting: BTreeSet::new(),
        unfit,
    }
}

/// A plan with the decision that explains it; `None` if there is nothing to do.
type Proposed = Option<(Plan, Decision)>;

impl Controller {
    fn made(&self, plan: Plan, kind: DecisionKind, why: &str) -> Proposed {
        if plan.is_empty() {
            return None;
        }
        let plan = plan.relying_on(&self.map, &self.trusted());
        let decision = || Decision::new(kind, self.now.wall_ms).because(why);
        (!plan.is_empty()).then(|| (plan, decision()))
    }

    /// What is to be done about something that the map shows; looked for once a map.
    pub(crate) fn sought(
        &mut self,
        search: Search,
        map: &ClusterMap,
        plan: impl FnOnce(&Self) -> Plan,
    ) -> Plan {
        if self.looked.is_absent(map, &search) {
            return Plan::default();
        }
        let plan = plan(self);
        if plan.is_empty() {
            self.looked.none_found(map, search);
        }
        plan
    }

    /// The most urgent of what can wait.
    pub(crate) fn what_can_wait(&mut self, leads_since: Duration) -> Proposed {
        let (now, map) = (self.at(), Arc::clone(&self.map));
        let map = map.as_ref();
        let dead = self.sought(Search::Dead, map, |own| {
            plan::remove_dead(&own.strategies, map)
        });
        let dead = self.made(
            dead,
            DecisionKind::InSync,
            "dead members leave the in-sync sets",
        );
        if dead.is_some() {
            return dead;
        }
        let waited = now > leads_since + self.settings.cold_start_wait;
        let vacant = self.cold_start(map, waited);
        if vacant.is_some() {
            return vacant;
        }
        if now < self.changed_at + CALM_FOR || now < leads_since + CALM_FOR {
            return None;
        }
        self.make_whole(map).or_else(|| self.make_even(map))
    }

    /// Fills vacant offices. Before members have had time to say what they have, only those that
    /// take no word of theirs.
    fn cold_start(&mut self, map: &ClusterMap, waited: bool) -> Proposed {
        if self.looked.is_absent(map, &Search::Vacant) {
            return None;
        }
        let is_vacant = |definition: &TableDefinition, assignment: &Assignment| {
            let path = definition.data_path();
            let in_time = waited || !path.has_copies();
            path.has_offices() && in_time && !map.is_filled(assignment.primary)
        };
        let mut all = map.partitions();
        if !all.any(|(_, table, a)| is_vacant(&table.definition, a)) {
            if waited {
                self.looked.none_found(map, Search::Vacant);
            }
            return None;
        }
        let reports = if waited {
            reports(map, &self.answers)
        } else {
            Reports::new()
        };
        self.made(
            plan::cold_start(&self.strategies, map, &reports),
            DecisionKind::ColdStart,
            "no primary is left",
        )
    }

    /// Copies that are missing, or have to leave a node.
    fn make_whole(&mut self, map: &ClusterMap) -> Proposed {
        let caps = CopyCaps::DEFAULT;
        let kind = DecisionKind::Rereplicate;
        let filled = self.sought(Search::Lacking, map, |_| plan::fill(map, caps));
        let filled = self.made(filled, kind, "tables get their copies");
        if filled.is_some() {
            return filled;
        }
        let missing = self.missing(map);
        if self.may_copy(map, &missing) {
            let plan = self.sought(Search::Missing(missing.clone()), map, |_| {
                plan::rereplicate(map, &missing, caps)
            });
            let copied = self.made(plan, kind, "a replica was missing for too long");
            if copied.is_some() {
                return copied;
            }
        }
        let replaced = plan::replaced(map);
        let gone = replaced
            .iter()
            .find_map(|storage| Some((*storage, plan::remove(map, *storage).ok()?)));
        if let Some((storage, plan)) = gone {
            let decision = Decision::new(DecisionKind::Drain, self.now.wall_ms)
                .about(storage)
                .because("a new data directory took its name over");
            return Some((plan, decision));
        }
        // One that cannot go on does not keep another from it.
        let members = map.members.values();
        let mut draining = members.filter(|m| m.state == MemberState::Draining);
        draining.find_map(|member| {
            let plan = plan::drain(&self.strategies, map, member.storage, caps);
            self.made(plan, DecisionKind::Drain, "the node is being drained")
        })
    }

    fn make_even(&mut self, map: &ClusterMap) -> Proposed {
        let surplus = self.sought(Search::Surplus, map, |_| plan::drop_surplus(map));
        let surplus = self.made(
            surplus,
            DecisionKind::Rereplicate,
            "copies beyond the wanted",
        );
        surplus
            .or_else(|| self.even_offices(map))
            .or_else(|| self.even_owners(map))
            .or_else(|| self.even_copies(map))
    }

    /// Offices for an even spread, among those who have copies.
    fn even_offices(&mut self, map: &ClusterMap) -> Proposed {
        let unfit = self.unfit(map);
        let plan = self.sought(Search::UnevenOffices(unfit.clone()), map, |_| {
            plan::balance_primaries(map, &caps(unfit))
        });
        self.made(plan, DecisionKind::Rebalance, "primaries are spread evenly")
    }

    /// Offices on shared storage for an even spread, among all.
    fn even_owners(&mut self, map: &ClusterMap) -> Proposed {
        let stopped_at = |(storage, incarnation): (StorageId, Incarnation)| {
            let member = map.members.get(&storage);
            let is_it = member.is_some_and(|member| member.incarnation == incarnation);
            is_it.then_some(storage)
        };
        let spared = self.rounds.spared(self.at()).filter_map(stopped_at);
        let unfit: BTreeSet<StorageId> = self.unfit(map).into_iter().chain(spared).collect();
        let plan = self.sought(Search::UnevenOwners(unfit.clone()), map, |_| {
            plan::balance_owners(map, &caps(unfit))
        });
        self.made(plan, DecisionKind::Rebalance, "owners are spread evenly")
    }

    /// Copies for an even spread, as long as that comes to rest; says so once where not.
    fn even_copies(&mut self, map: &ClusterMap) -> Proposed {
        let unsettled = self.settling.allows(map).err();
        if let Some(why) = unsettled.as_ref().filter(|_| !self.balancing_refused) {
            let why = Some(why.to_string());
            self.notice(NoticeKind::BalancingRefused, None, why);
        }
        self.balancing_refused = unsettled.is_some();
        if self.balancing_refused {
            return None;
        }
        let plan = self.sought(Search::Uneven, map, |_| {
            plan::balance_replicas(map, CopyCaps::DEFAULT)
        });
        if !plan.is_empty() {
            self.balancing = Some((Arc::clone(&self.map), plan.clone()));
        }
        self.made(plan, DecisionKind::Rebalance, "copies are spread evenly")
    }

    /// Members that are down for longer than replicas may be missing, or will not come back.
    fn missing(&self, map: &ClusterMap) -> Vec<StorageId> {
        let patience = self.settings.rereplicate_after;
        let patience_ms = u64::try_from(patience.as_millis()).unwrap_or(u64::MAX);
        let now_ms = self.now.wall_ms;
        map.members
            .values()
            .filter(|m| m.state == MemberState::Down)
            .filter(|m| m.replaced_by.is_some() || m.since_ms.saturating_add(patience_ms) < now_ms)
            .map(|m| m.storage)
            .collect()
    }

    /// Whether so many may be replaced without a person; says so once where not.
    fn may_copy(&mut self, map: &ClusterMap, missing: &[StorageId]) -> bool {
        let refused = plan::copying_allowed(map, missing).err();
        if let Some(refused) = refused.filter(|_| !self.copying_refused) {
            self.notice(NoticeKind::CopyingRefused, None, Some(refused.to_string()));
        }
        self.copying_refused = refused.is_some();
        refused.is_none()
    }

    /// Members that should be given no office now.
    fn unfit(&self, map: &ClusterMap) -> BTreeSet<StorageId> {
        map.live_members()
            .filter(|m| !matches!(self.belief(m.storage, m.incarnation), Belief::Alive))
            .map(|m| m.storage)
            .chain(self.with_stopped())
            .chain(self.full_members())
            .chain(self.not_whole_for_long(map))
            .collect()
    }

    /// Notes since when each member works and is in sync wherever it has a copy.
    pub(crate) fn note_whole(&mut self) {
        let (now, map) = (self.at(), Arc::clone(&self.map));
        let behind = self.looked.behind(&map).clone();
        for member in map.members.values() {
            let belief = self.belief(member.storage, member.incarnation);
            let works = member.is_placeable() && matches!(belief, Belief::Alive);
            if works && !behind.contains(&member.storage) {
                self.whole_since.entry(member.storage).or_insert(now);
            } else {
                self.whole_since.remove(&member.storage);
            }
        }
    }

    /// Members that came back a moment ago or keep failing: an office that goes there now may have
    /// to leave again, and each move makes writers wait.
    fn not_whole_for_long(&self, map: &ClusterMap) -> Vec<StorageId> {
        let now = self.at();
        let rests = |storage: &StorageId| {
            let since = self.whole_since.get(storage);
            since.is_none_or(|since| now < *since + WHOLE_FOR)
                || self.detector.held_down(now, storage).is_some()
        };
        map.members.keys().copied().filter(rests).collect()
    }
}
