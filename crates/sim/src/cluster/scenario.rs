//! What a seed makes of a run: sizes, limits, faults drawn up front. Knows nothing of how they
//! come about.

use super::MS;
use super::active::ActivePlan;
use super::engine::RowsIn;
use super::limits::{agreement, given};
use super::process::Given;
use super::sessions::SOCKET_BYTES;
use super::shared::SharedPlan;
use super::theme::Theme;
use crate::agreement;
use crate::check::Memory;
use crate::rng::{Chance, Chances};
use crate::{Mutant, Options};

/// One seed in so many is judged without the log as well.
const OPINION_EVERY: u64 = 16;

/// A turn begins this long after something happened, in most runs.
const TURN_US: u64 = 20;

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A process is killed and starts again.
    Kill,
    /// The power of a machine fails: what was not synced may be torn, and nobody is told.
    PowerOff,
    /// All processes are killed at once.
    KillAll,
    /// A process stands still.
    Pause,
    /// Nothing passes from a machine to another one.
    CutOneWay,
    /// A machine is cut off from all others.
    Isolate,
    /// The cluster falls into two parts.
    Split,
    /// Syncs take a hundred times as long.
    SlowDisk,
    /// A disk is full.
    FullDisk,
    /// A wall clock leaps.
    ClockStep,
    /// A wall clock leaps by little.
    ClockSlip,
    /// The process of the leader is killed.
    KillLeader,
    /// The process of a primary is killed.
    KillPrimary,
    /// An office moves to another member.
    MoveOffice,
    /// Some offices move, one after the other.
    MoveOffices,
    /// A member that lives is held dead.
    HoldDead,
    /// Everything is moved off a member.
    Drain,
    /// A node is told to stop.
    Leave,
    /// A table is dropped.
    DropTable,
    /// A table comes to have another number of replicas, or another minimum of them.
    AlterTable,
    /// A machine is replaced by an empty one.
    Wipe,
    /// A sync fails.
    FailSync,
    /// The power of a machine fails for a moment.
    Blink,
    /// A backup loses its power for a moment, and then its primary is gone.
    BackupThenPrimary,
    /// The power of all machines fails.
    PowerOffAll,
    /// Rows of a partition are lost.
    LoseRows,
    /// A raft log is lost.
    LoseRaftLog,
    /// A replica goes away and is wanted again at once.
    AwayAndBack,
    /// A node hears nobody for a moment, and loses its offices meanwhile.
    Deafen,
    /// The disks of a machine are replaced by a copy from before its last start.
    OlderDisk,
    /// A process is killed and starts again at once.
    Restart,
    /// All disks but one are slow.
    SlowOthers,
    /// The leader stands still.
    PauseLeader,
    /// The leader is cut off from all others.
    IsolateLeader,
    /// The power of two machines fails.
    DownTwo,
    /// Bytes of a disk rot.
    Rot,
    /// A write goes to another place.
    Misdirect,
}

impl Kind {
    /// Those that any run may have; the others belong to a theme.
    const ALL: [Self; 28] = [
        Self::Kill,
        Self::PowerOff,
        Self::KillAll,
        Self::Pause,
        Self::CutOneWay,
        Self::Isolate,
        Self::Split,
        Self::SlowDisk,
        Self::FullDisk,
        Self::ClockStep,
        Self::KillLeader,
        Self::KillPrimary,
        Self::MoveOffice,
        Self::MoveOffices,
        Self::HoldDead,
        Self::Drain,
        Self::Leave,
        Self::DropTable,
        Self::Wipe,
        Self::FailSync,
        Self::Blink,
        Self::BackupThenPrimary,
        Self::PowerOffAll,
        Self::LoseRows,
        Self::LoseRaftLog,
        Self::AwayAndBack,
        Self::Deafen,
        Self::OlderDisk,
    ];
}

/// A planned fault.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fault {
    pub(crate) at_us: u64,
    pub(crate) kind: Kind,
    pub(crate) lasts_us: u64,
    /// Decides whom it hits.
    pub(crate) whom: u64,
}

/// The plan of a run.
#[derive(Clone, Debug)]
pub(crate) struct Scenario {
    pub(crate) nodes: usize,
    pub(crate) tables: usize,
    pub(crate) partitions: u32,
    pub(crate) replicas: u32,
    pub(crate) min_in_sync: u32,
    pub(crate) clients: usize,
    pub(crate) keys: u64,
    /// Bytes of a value beside its number.
    pub(crate) value_bytes: usize,
    /// How often a client repeats a write that was acknowledged, some time later.
    pub(crate) repeats_per_mille: u64,
    pub(crate) writes_per_mille: u64,
    pub(crate) think_us: u64,
    /// How often a new member of an in-sync set is given the office at once.
    pub(crate) promote_joiners_per_mille: u64,
    pub(crate) sync_us: u64,
    /// The first machine has a slow disk all the time.
    pub(crate) slow_first: bool,
    /// How often the connections of a node end when it begins to store a page of a copy.
    pub(crate) resets_per_mille: u64,
    /// A turn begins this long after something happened.
    pub(crate) turn_us: u64,
    /// What the kernel takes from a process before it is written.
    pub(crate) socket_bytes: usize,
    /// The journal alone waits for the disk.
    pub(crate) quick_lanes: bool,
    /// The network is slow.
    pub(crate) narrow: bool,
    /// What is special where one of the tables is an active one.
    pub(crate) active: Option<ActivePlan>,
    pub(crate) given: Given,
    pub(crate) agreement: agreement::Settings,
    /// Whether the answers about each row are explained without the log as well.
    pub(crate) has_second_opinion: bool,
    /// A deliberate fault: see [`Mutant::OlderDiskAccepted`].
    pub(crate) accepts_older_disk: bool,
    /// Where rows are kept.
    pub(crate) rows_in: RowsIn,
    pub(crate) faults: Vec<Fault>,
    pub(crate) faults_end_us: u64,
    /// A table on shared storage.
    pub(crate) shared: Option<SharedPlan>,
}

impl Scenario {
    /// What is run for a seed.
    pub(crate) fn of(seed: u64, options: &Options, chance: &mut Chances) -> Self {
        let mut scenario = Self::new(&mut chance.sizes, &mut chance.faults);
        if let Some(theme) = Theme::of(&mut chance.themes) {
            scenario.dedicate(theme, &mut chance.themes);
        } else if let Some(theme) = Theme::of_others(&mut chance.more_themes) {
            scenario.dedicate(theme, &mut chance.more_themes);
        }
        scenario.shared = SharedPlan::of(&mut chance.shared, &mut scenario);
        scenario.plan_active(&mut chance.active);
        scenario.let_decay(&mut chance.decay);
        scenario.let_alter(&mut chance.alterations);
        scenario.has_second_opinion = seed.is_multiple_of(OPINION_EVERY);
        scenario.make_smaller(&options.smaller);
        if options.trees {
            scenario.rows_in = RowsIn::Trees;
        }
        let plane = &mut scenario.given.plane;
        // As many results as half a message takes, beside a chunk.
        plane.results_a_piece = plane.results_a_piece.min(plane.message_bytes_max / 100);
        plane.link_bytes_max = plane.link_bytes_max.max(plane.on_the_way_max());
        let valid = plane.clone().validated();
        *plane = valid.expect("limits are drawn so that they fit each other");
        let (given, agreement) = (&mut scenario.given, &mut scenario.agreement);
        match options.mutant {
            Some(Mutant::Replica(mutant)) => given.plane.replica.mutant = Some(mutant),
            Some(Mutant::Plane(mutant)) => given.plane.mutant = Some(mutant),
            Some(Mutant::Active(mutant)) => given.plane.active.mutant = Some(mutant),
            Some(Mutant::ShortenedLogAccepted) => agreement.accepts_shortened_log = true,
            Some(Mutant::DeposedControllerDecides) => {
                agreement.commits_decision_of_deposed_controller = true;
            }
            Some(Mutant::OlderDiskAccepted) => scenario.accepts_older_disk = true,
            Some(Mutant::Owner(mutant)) => {
                if let Some(plan) = &mut scenario.shared {
                    plan.mutant = Some(mutant);
                }
            }
            None => {}
        }
        scenario
    }

    fn new(chance: &mut Chance, planned: &mut Chance) -> Self {
        let replicas = if chance.happens(150) { 2 } else { 3 };
        let nodes = chance.between(3, 7) as usize;
        let faults_end_us = chance.between(600 * MS, 3_000 * MS);
        Self {
            nodes,
            tables: 2,
            partitions: 8,
            replicas,
            min_in_sync: if chance.happens(250) { 1 } else { 2 },
            clients: chance.between(2, 5) as usize,
            keys: chance.pick(&[3, 12, 100]).unwrap_or(12),
            value_bytes: chance.pick(&[0, 0, 300, 3_000]).unwrap_or(0),
            repeats_per_mille: chance.pick(&[0, 50, 300]).unwrap_or(0),
            writes_per_mille: chance.between(300, 800),
            think_us: chance.between(MS, 20 * MS),
            promote_joiners_per_mille: chance.pick(&[0, 0, 300, 900]).unwrap_or(0),
            sync_us: chance.between(100, 3 * MS),
            slow_first: chance.happens(300),
            resets_per_mille: 0,
            turn_us: TURN_US,
            socket_bytes: SOCKET_BYTES,
            quick_lanes: false,
            narrow: false,
            active: None,
            given: given(chance),
            agreement: agreement(chance),
            has_second_opinion: false,
            accepts_older_disk: false,
            rows_in: RowsIn::Memory,
            faults: faults(planned, faults_end_us),
            faults_end_us,
            shared: None,
        }
    }
}

impl Scenario {
    /// How long a sync of a machine takes.
    pub(crate) fn sync_us_of(&self, slot: usize) -> u64 {
        if slot == 0 && self.slow_first {
            return self.sync_us * 15;
        }
        self.sync_us
    }

    /// How long replicas remember requests.
    pub(crate) fn memory(&self) -> Memory {
        let replica = &self.given.plane.replica;
        Memory {
            remember_for_ms: u64::try_from(replica.remember_for.as_millis()).unwrap_or(u64::MAX),
            kept_min: replica.remember_min,
        }
    }
}

fn faults(chance: &mut Chance, end_us: u64) -> Vec<Fault> {
    let kinds: Vec<Kind> = Kind::ALL
        .into_iter()
        .filter(|_| chance.happens(350))
        .collect();
    let count = chance.between(0, 8);
    let mut faults = Vec::new();
    for _ in 0..count {
        let Some(kind) = chance.pick(&kinds) else {
            break;
        };
        faults.push(Fault {
            at_us: chance.between(150 * MS, end_us.max(151 * MS)),
            kind,
            lasts_us: chance.pick(&[20 * MS, 200 * MS, 900 * MS]).unwrap_or(MS),
            whom: chance.below(u64::MAX),
        });
    }
    faults.sort_by_key(|fault| fault.at_us);
    faults
}
