//! The limits and times of a run, and how often its agreement goes wrong. Knows nothing of faults.

use std::time::Duration;

use tablestore_controller::ControllerSettings;
use tablestore_dataplane::Settings;
use tablestore_replication::Settings as ReplicaSettings;

use super::MS;
use super::process::Given;
use crate::agreement::{self, Wrongs};
use crate::rng::Chance;

/// Limits and times that make the rare ways common.
pub(super) fn given(chance: &mut Chance) -> Given {
    let ms = Duration::from_millis;
    let tiny = |chance: &mut Chance, tiny: usize, odd: usize, usual: usize| {
        chance.pick(&[tiny, odd, usual]).unwrap_or(usual)
    };
    let usual = Settings::default();
    // A frame, a message, and what may be in one.
    let wire = chance.pick(&[(2 << 10, 16 << 10, 4 << 10), (20 << 10, 1 << 20, 256 << 10)]);
    let wire = wire.unwrap_or((1 << 20, 4 << 20, 256 << 10));
    let plane = Settings {
        frame_bytes: wire.0,
        message_bytes_max: wire.1,
        page_bytes_max: wire.2,
        crowded_bytes: tiny(chance, 4 << 10, 64 << 10, usual.crowded_bytes),
        chunk_rows: tiny(chance, 4, 50, usual.chunk_rows),
        chunk_bytes: tiny(chance, 200, 2_000, usual.chunk_bytes.min(wire.2)),
        link_bytes_max: tiny(chance, 96 << 10, 1 << 20, usual.link_bytes_max),
        window_chunks: tiny(chance, 1, 2, 4) as u64,
        results_a_piece: tiny(chance, 3, 20, usual.results_a_piece),
        reads_max: tiny(chance, 2, 10, usual.reads_max),
        upkeep_max: tiny(chance, 2, 10, usual.upkeep_max),
        copies_max: tiny(chance, 1, 3, usual.copies_max),
        unflushed_bytes_max: tiny(chance, 500, 5_000, 1 << 20) as u64,
        upkeep_every: ms(chance.between(30, 500)),
        checksum_every: ms(chance.between(1_000, 5_000)),
        compare_within: ms(chance.between(50, 1_000)),
        replica: replica(chance, wire.2),
        ..usual
    };
    Given {
        plane,
        controller: ControllerSettings {
            heartbeat_every: ms(100),
            cold_start_wait: ms(chance.between(100, 500)),
            rereplicate_after: ms(chance.between(300, 3_000)),
        },
        segment_bytes: 64 << 10,
        segments_max: chance.between(3, 8) as usize,
    }
}

/// How often the agreement goes wrong, each way for itself.
pub(super) fn agreement(chance: &mut Chance) -> agreement::Settings {
    let mut wrong = || chance.pick(&[0, 0, 10, 60]).unwrap_or(0);
    let wrongs = Wrongs {
        answer_lost: wrong(),
        unknown_early: wrong(),
        put_twice: wrong(),
        read_hangs: wrong(),
        read_late: wrong(),
        nobody_stands: wrong(),
        vain_election: wrong(),
        burst: wrong(),
        told_late: wrong(),
        sync_fails: 0,
    };
    agreement::Settings {
        snapshot_every: chance.pick(&[20, 200]).unwrap_or(200),
        kept: chance.pick(&[5, 100]).unwrap_or(100),
        wrongs,
        read_within_us: chance.pick(&[40 * MS, 300 * MS, 2_000 * MS]).unwrap_or(MS),
        ..agreement::Settings::default()
    }
}

fn replica(chance: &mut Chance, message: usize) -> ReplicaSettings {
    let usual = ReplicaSettings::default();
    let ms = Duration::from_millis;
    let mut pick =
        |tiny: usize, odd: usize, usual: usize| chance.pick(&[tiny, odd, usual]).unwrap_or(usual);
    ReplicaSettings {
        tail_bytes_max: pick(1, 300, usual.tail_bytes_max),
        append_bytes_max: pick(1, 300, usual.append_bytes_max.min(message)),
        window_bytes_max: pick(1, 1_000, usual.window_bytes_max),
        apply_entries_max: pick(1, 3, usual.apply_entries_max),
        read_log_bytes_max: pick(1, 500, usual.read_log_bytes_max.min(message)),
        pin_entries_max: pick(3, 30, usize::MAX) as u64,
        history_max: pick(1, 2, usual.history_max),
        remember_min: pick(2, 20, usual.remember_min),
        resend_after: ms(chance.between(20, 200)),
        confirm_after: ms(chance.between(10, 100)),
        propose_again_after: ms(chance.between(30, 250)),
        lag_timeout: ms(chance.between(110, 500)),
        lost_timeout: ms(chance.between(50, 200)),
        ..usual
    }
}
