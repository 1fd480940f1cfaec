//! The in-sync set of a primary: the maximal set that commits and reads need, and the one
//! proposal that may be under way. Knows nothing of logs and messages.

use tablestore_placement::{Assignment, AssignmentVersion, Office, StorageId};

use crate::output::Output;
use crate::replica::core::Core;
use crate::types::Now;

/// After so many times `withdraw_after` an addition is withdrawn though its joiner keeps up: the
/// joiner may be one that the map lets into no set, and other changes wait for this one.
const OVERDUE_AFTER: u32 = 3;

/// A proposal whose outcome is not known.
#[derive(Debug)]
struct Proposal {
    version: AssignmentVersion,
    in_sync: Vec<StorageId>,
    joiner: Option<Office>,
    began: Now,
    sent: Now,
    /// How many times it was sent, and how many of those were refused for certain. As long as
    /// these differ, one of them may have been carried out or may yet be.
    attempts: u32,
    refusals: u32,
}

/// The committed set and what may become of it.
#[derive(Debug)]
pub(crate) struct InSync {
    pub(crate) version: AssignmentVersion,
    /// As the map shows it.
    pub(crate) committed: Vec<StorageId>,
    /// The committed set and every set that was proposed and is unresolved.
    pub(crate) maximal: Vec<StorageId>,
    proposal: Option<Proposal>,
    /// After a refusal nothing is proposed until then.
    not_before: Now,
}

impl InSync {
    pub(crate) fn new(assignment: &Assignment) -> Self {
        Self {
            version: assignment.version,
            committed: assignment.in_sync.clone(),
            maximal: assignment.in_sync.clone(),
            proposal: None,
            not_before: Now::ZERO,
        }
    }

    /// The map shows a newer version: whatever was proposed for an older one is decided, since
    /// proposals are compare-and-set.
    pub(crate) fn on_assignment(&mut self, assignment: &Assignment) {
        self.version = assignment.version;
        self.committed.clone_from(&assignment.in_sync);
        self.proposal
            .take_if(|proposal| proposal.version < assignment.version);
        if self.proposal.is_none() {
            self.maximal.clone_from(&assignment.in_sync);
        }
    }

    pub(crate) fn is_pending(&self) -> bool {
        self.proposal.is_some()
    }

    /// The member whose addition is pending.
    pub(crate) fn joiner(&self) -> Option<Office> {
        self.proposal.as_ref()?.joiner
    }

    pub(crate) fn may_propose(&self, core: &Core) -> bool {
        self.proposal.is_none() && core.now >= self.not_before
    }

    /// After a refusal nothing is proposed until then.
    pub(crate) fn not_before(&self) -> Now {
        self.not_before
    }

    /// Proposes another set; from now on the maximal set includes it.
    pub(crate) fn propose(
        &mut self,
        core: &mut Core,
        in_sync: Vec<StorageId>,
        joiner: Option<Office>,
    ) {
        for member in &in_sync {
            if !self.maximal.contains(member) {
                self.maximal.push(*member);
            }
        }
        let mut proposal = Proposal {
            version: self.version,
            in_sync,
            joiner,
            began: core.now,
            sent: core.now,
            attempts: 0,
            refusals: 0,
        };
        proposal.send(core);
        self.proposal = Some(proposal);
    }

    /// The joiner does not keep up: the set as it is is proposed for the same version. Whichever
    /// comes first decides; until then the joiner counts.
    pub(crate) fn withdraw(&mut self, core: &mut Core) {
        let committed = self.committed.clone();
        if let Some(proposal) = &mut self.proposal {
            proposal.in_sync = committed;
            proposal.joiner = None;
            proposal.send(core);
        }
    }

    /// One attempt was refused for certain. Says whether the proposal is resolved by it.
    pub(crate) fn on_refused(&mut self, core: &Core, version: AssignmentVersion) -> bool {
        let Some(proposal) = &mut self.proposal else {
            return false;
        };
        if proposal.version != version {
            return false;
        }
        proposal.refusals += 1;
        if proposal.refusals < proposal.attempts {
            return false;
        }
        self.proposal = None;
        self.maximal.clone_from(&self.committed);
        self.not_before = core.now + core.settings.propose_again_after;
        true
    }

    /// Whether the pending addition is old enough to be withdrawn.
    pub(crate) fn is_withdrawable(&self, core: &Core) -> bool {
        self.proposal.as_ref().is_some_and(|proposal| {
            proposal.joiner.is_some() && proposal.began + core.settings.withdraw_after <= core.now
        })
    }

    /// Whether the map neither takes the pending addition nor refuses it for good.
    pub(crate) fn is_overdue(&self, core: &Core) -> bool {
        let after = OVERDUE_AFTER * core.settings.withdraw_after;
        let proposal = self.proposal.as_ref();
        proposal.is_some_and(|proposal| proposal.began + after <= core.now)
    }

    /// Repeats an unanswered proposal.
    pub(crate) fn tick(&mut self, core: &mut Core) {
        if let Some(proposal) = &mut self.proposal
            && proposal.sent + core.settings.propose_again_after <= core.now
        {
            proposal.send(core);
        }
    }

    /// When something may be proposed (again).
    pub(crate) fn deadline(&self, core: &Core) -> Option<Now> {
        match &self.proposal {
            Some(proposal) => Some(proposal.sent + core.settings.propose_again_after),
            None => (self.not_before > core.now).then_some(self.not_before),
        }
    }
}

impl Proposal {
    fn send(&mut self, core: &mut Core) {
        self.attempts += 1;
        self.sent = core.now;
        core.output(Output::Propose {
            epoch: core.adopted,
            version: self.version,
            in_sync: self.in_sync.clone(),
            joiner: self.joiner,
        });
    }
}
