//! What a seed makes of a run: sizes, manners of the network, faults, limits of the replicas.

use std::time::Duration;

use tablestore_replication::Settings;

use crate::network::Manners;
use crate::rng::Chance;
use crate::world::MS;

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    Crash,
    CrashPrimary,
    CrashBackupThenPrimary,
    CrashAll,
    Wipe,
    Pause,
    OneWayCut,
    Isolate,
    IsolatePrimary,
    Split,
    SlowDisk,
    WrongGuess,
    MoveOffice,
    MoveOfficeTwice,
    ControlPlaneGone,
}

impl Fault {
    const ALL: [Self; 15] = [
        Self::Crash,
        Self::CrashPrimary,
        Self::CrashBackupThenPrimary,
        Self::CrashAll,
        Self::Wipe,
        Self::Pause,
        Self::OneWayCut,
        Self::Isolate,
        Self::IsolatePrimary,
        Self::Split,
        Self::SlowDisk,
        Self::WrongGuess,
        Self::MoveOffice,
        Self::MoveOfficeTwice,
        Self::ControlPlaneGone,
    ];
}

/// The plan of a run.
#[derive(Clone, Debug)]
pub(crate) struct Scenario {
    pub(crate) nodes: usize,
    pub(crate) partitions: usize,
    pub(crate) replicas: usize,
    pub(crate) in_sync_min: u32,
    pub(crate) clients: usize,
    pub(crate) keys: u64,
    pub(crate) writes_per_mille: u64,
    pub(crate) think_us: u64,
    pub(crate) sync_us: u64,
    pub(crate) detect_us: u64,
    pub(crate) map_late_per_mille: u64,
    pub(crate) trim_per_mille: u64,
    /// How often too much is on the way to a member for more entries.
    pub(crate) crowded_per_mille: u64,
    pub(crate) join_then_promote_per_mille: u64,
    pub(crate) manners: Manners,
    pub(crate) faults: Vec<Fault>,
    pub(crate) fault_us: u64,
    pub(crate) faults_end_us: u64,
    pub(crate) clients_end_us: u64,
}

impl Scenario {
    pub(crate) fn new(chance: &mut Chance) -> Self {
        let replicas = if chance.happens(150) { 2 } else { 3 };
        let nodes = chance.between(replicas, 5) as usize;
        let faults_end_us = chance.between(400 * MS, 3000 * MS);
        Self {
            nodes,
            partitions: chance.between(1, 2) as usize,
            replicas: replicas as usize,
            in_sync_min: if chance.happens(250) { 1 } else { 2 },
            clients: chance.between(2, 5) as usize,
            keys: chance.between(1, 3),
            writes_per_mille: chance.between(300, 800),
            think_us: chance.between(MS, 20 * MS),
            sync_us: chance.between(100, 3 * MS),
            detect_us: chance.between(5 * MS, 120 * MS),
            map_late_per_mille: chance.pick(&[0, 100, 400]).unwrap_or(0),
            trim_per_mille: chance.pick(&[0, 300, 900]).unwrap_or(0),
            crowded_per_mille: chance.pick(&[0, 0, 300]).unwrap_or(0),
            join_then_promote_per_mille: chance.pick(&[0, 300, 900]).unwrap_or(0),
            manners: manners(chance),
            faults: faults(chance),
            fault_us: chance.between(20 * MS, 200 * MS),
            faults_end_us,
            clients_end_us: faults_end_us + 200 * MS,
        }
    }
}

fn manners(chance: &mut Chance) -> Manners {
    let ordered = chance.happens(400);
    Manners {
        ordered,
        lost_per_mille: if ordered {
            0
        } else {
            chance.pick(&[0, 5, 50]).unwrap_or(0)
        },
        repeated_per_mille: chance.pick(&[0, 20, 100]).unwrap_or(0),
        late_per_mille: chance.pick(&[0, 10, 100]).unwrap_or(0),
        late_us_max: chance.between(2 * MS, 150 * MS),
        delay_us_max: chance.between(200, 2 * MS),
    }
}

/// A few kinds of fault a run, so that some runs are about pairs of them. A third of the runs is
/// about known weak points: a backup that restarts just before it is elected, and a member that
/// joins while offices move.
fn faults(chance: &mut Chance) -> Vec<Fault> {
    match chance.below(6) {
        0 => return vec![Fault::SlowDisk, Fault::CrashBackupThenPrimary],
        1 => return vec![Fault::WrongGuess, Fault::Crash, Fault::MoveOfficeTwice],
        _ => {}
    }
    let kinds = chance.between(1, 5);
    (0..kinds)
        .filter_map(|_| chance.pick(&Fault::ALL))
        .collect()
}

/// Limits and times that make the rare ways common.
pub(crate) fn settings(chance: &mut Chance) -> Settings {
    let defaults = Settings::default();
    let ms = Duration::from_millis;
    Settings {
        tail_bytes_max: pick(chance, &[1, 300, defaults.tail_bytes_max]),
        append_bytes_max: pick(chance, &[1, 300, defaults.append_bytes_max]),
        window_bytes_max: pick(chance, &[1, 1000, defaults.window_bytes_max]),
        apply_entries_max: pick(chance, &[1, 3, defaults.apply_entries_max]),
        read_log_bytes_max: pick(chance, &[1, 500, defaults.read_log_bytes_max]),
        pin_entries_max: pick(chance, &[3, 30, defaults.pin_entries_max]),
        history_max: pick(chance, &[1, 2, defaults.history_max]),
        commit_idle_after: ms(chance.between(5, 50)),
        resend_after: ms(chance.between(20, 200)),
        confirm_after: ms(chance.between(10, 100)),
        confirm_give_up_after: ms(chance.between(300, 2000)),
        propose_again_after: ms(chance.between(30, 250)),
        withdraw_after: ms(chance.between(100, 1000)),
        lag_timeout: ms(chance.between(110, 500)),
        lost_timeout: ms(chance.between(1, 200)),
        ..defaults
    }
}

fn pick<T: Copy>(chance: &mut Chance, from: &[T; 3]) -> T {
    from[chance.below(3) as usize]
}
