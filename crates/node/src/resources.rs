//! Reading this machine's resources and what follows from it, for heartbeats and status pages.
//!
//! Knows nothing of other machines.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tablestore_contract::{Advice, Document, ResourceLevel, Resources};
use tablestore_health::{Governor, GovernorSettings, Sample, SysinfoSample, Verdict};
use tokio::sync::mpsc;

use crate::node::Node;
use crate::room::{LOOK_EVERY, Watch, free_bytes};

/// How often this machine's resources are read.
const SAMPLE_EVERY: Duration = Duration::from_secs(2);

/// Reads this machine's resources and the room on its disk, each on a thread of its own, since
/// `statvfs` may hang.
pub(crate) async fn watch(node: Node) {
    let (readings, mut read) = mpsc::channel(1);
    let directory = node.settings().data_dir.clone();
    let spawned = thread("resources", move || {
        sample(&directory, SAMPLE_EVERY, |resources| {
            readings.blocking_send(resources).is_ok()
        });
    });
    let progress = Arc::clone(&node.shared.progress);
    let settings = node.settings().clone();
    let room = thread("room", move || {
        let mut room = Watch::new(&settings.data_dir, settings.segment_bytes);
        loop {
            let full = room.look(free_bytes(&settings.data_dir));
            progress.room.set_full(full);
            std::thread::sleep(LOOK_EVERY);
        }
    });
    if let Err(error) = spawned.and(room) {
        tracing::warn!(%error, "resources are not watched");
    }
    while let Some(resources) = read.recv().await {
        node.note_resources(node.me(), resources);
    }
}

fn thread(name: &str, run: impl FnOnce() + Send + 'static) -> std::io::Result<()> {
    let thread = std::thread::Builder::new().name(name.to_owned());
    thread.spawn(run).map(drop)
}

/// Samples for ever, or until `tell` says that nobody listens. Blocks; has a thread of its own.
fn sample(directory: &Path, every: Duration, mut tell: impl FnMut(Resources) -> bool) {
    let origin = Instant::now();
    let mut sampler = SysinfoSample::new(directory);
    let mut governor = Governor::new(GovernorSettings::default());
    loop {
        let reading = sampler.sample();
        let now = origin.elapsed();
        governor.take(now, &reading);
        if !tell(shown(&governor.verdict(now))) {
            return;
        }
        std::thread::sleep(every);
    }
}

fn shown(verdict: &Verdict) -> Resources {
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
        more: Document::new(),
    }
}
