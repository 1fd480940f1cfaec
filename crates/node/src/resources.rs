//! Reading this machine's resources and what follows from it, for heartbeats and status pages.
//!
//! Knows nothing of other machines.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tablestore_contract::{Advice, Document, ResourceLevel, Resources};
use tablestore_health::{Governor, GovernorSettings, Reading, Sample, SysinfoSample, Verdict};
use tokio::sync::mpsc;

use crate::NodeSettings;
use crate::metrics::Metrics;
use crate::node::Node;
use crate::room::{LOOK_EVERY, Watch, free_bytes};

/// The room on the disk is looked at each time, all resources of the machine once in so many.
const LOOKS_A_SAMPLE: u32 = 10;

/// Reads this machine's resources and the room on its disk, on a thread of its own, since `statvfs`
/// may hang.
pub(crate) async fn watch(node: Node) {
    let (readings, mut read) = mpsc::channel(1);
    let settings = node.settings().clone();
    let progress = Arc::clone(&node.shared.progress);
    let metrics = Arc::clone(&node.shared.metrics);
    let spawned = std::thread::Builder::new()
        .name("resources".to_owned())
        .spawn(move || {
            look_around(
                &settings,
                |full| progress.room.set_full(full),
                |reading, resources| {
                    show(reading, &metrics);
                    readings.blocking_send(resources).is_ok()
                },
            );
        });
    if let Err(error) = spawned {
        tracing::warn!(%error, "resources are not watched");
    }
    while let Some(resources) = read.recv().await {
        node.note_resources(node.me(), resources);
    }
}

/// Looks for ever, or until `tell` says that nobody listens. Blocks; has a thread of its own.
fn look_around(
    settings: &NodeSettings,
    set_full: impl Fn(bool),
    mut tell: impl FnMut(&Reading, Resources) -> bool,
) {
    let origin = Instant::now();
    let mut room = Watch::new(&settings.data_dir, settings.segment_bytes);
    let mut sampler = SysinfoSample::new(&settings.data_dir);
    let mut governor = Governor::new(GovernorSettings::default());
    loop {
        let reading = sampler.sample();
        let now = origin.elapsed();
        governor.take(now, &reading);
        if !tell(&reading, shown(&governor.verdict(now), now)) {
            return;
        }
        for _ in 0..LOOKS_A_SAMPLE {
            set_full(room.look(free_bytes(&settings.data_dir)));
            std::thread::sleep(LOOK_EVERY);
        }
    }
}

/// Shows what this machine has of what can run short.
fn show(reading: &Reading, metrics: &Metrics) {
    let spaces = [
        (
            &reading.disk,
            "tablestore_disk_bytes",
            "Size of the file system that has the data directory.",
            "tablestore_disk_available_bytes",
            "What is free there.",
        ),
        (
            &reading.memory,
            "tablestore_memory_bytes",
            "Memory that this node may use: that of the machine, or of its control group.",
            "tablestore_memory_available_bytes",
            "What of that memory could be used right now.",
        ),
    ];
    for (space, name, help, available, available_help) in spaces {
        let Ok(space) = space else { continue };
        metrics.show(name, help, space.total);
        metrics.show(available, available_help, space.available);
    }
    if let Ok(cpu) = &reading.cpu {
        let help = "Share of time in which the processors of this machine work, from 0 to 1.";
        let ratio = metrics.decimal("tablestore_processors_used_ratio", help, &[]);
        ratio.assign(cpu.used.as_percent() / 100.0);
    }
}

fn shown(verdict: &Verdict, uptime: Duration) -> Resources {
    let levels = verdict.resources.iter().map(|(resource, state)| {
        let level = ResourceLevel {
            level: state.level.to_string(),
            reason: state.reason.clone(),
        };
        (resource.to_string(), level)
    });
    Resources {
        level: verdict.level.to_string(),
        resources: Some(levels.collect()),
        advice: Some(Advice {
            stop_placing: verdict.advice.stop_placing,
            move_partitions: verdict.advice.move_partitions,
            move_primaries: verdict.advice.move_primaries,
            refuse_writes: verdict.advice.refuse_writes,
        }),
        version: Some(env!("CARGO_PKG_VERSION").to_owned()),
        uptime_s: Some(uptime.as_secs()),
        more: Document::new(),
    }
}
