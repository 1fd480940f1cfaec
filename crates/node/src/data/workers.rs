//! Threads for what may block: reads of ranges and of the journal, copies, and niced housekeeping.
//!
//! Knows nothing of what a job does. The plane gives each lane only so many jobs at once.

use std::sync::{Arc, mpsc};

use tablestore_dataplane::{Host, Job, Lane, PlaneEvent};
use tablestore_store::stopped::StoppedReplicas;
use tablestore_store::{JournalReader, LsmEngine};

use super::event::EventSender;

/// How far housekeeping steps back behind requests.
const NICE: i32 = 10;

/// The lanes of background work.
#[derive(Debug)]
pub(crate) struct Workers {
    reads: mpsc::Sender<Job>,
    upkeep: mpsc::Sender<Job>,
    copies: mpsc::Sender<Job>,
}

impl Workers {
    /// Starts the threads.
    ///
    /// # Errors
    /// If the system refuses a thread.
    pub(crate) fn start(
        engine: Arc<LsmEngine>,
        journal: &JournalReader,
        notes: &StoppedReplicas,
        sender: &EventSender,
    ) -> std::io::Result<Self> {
        let lane = |name: &str, nice: i32| -> std::io::Result<mpsc::Sender<Job>> {
            let (to_lane, jobs) = mpsc::channel::<Job>();
            let (engine, journal) = (Arc::clone(&engine), journal.clone());
            let (notes, sender) = (notes.clone(), sender.clone());
            std::thread::Builder::new()
                .name(name.to_owned())
                .spawn(move || {
                    // Of the thread, not of the process; without it the lane is only less polite.
                    let _ = rustix::process::nice(nice);
                    let host = Host {
                        engine: engine.as_ref(),
                        journal: &journal,
                        notes: &notes,
                    };
                    for job in jobs {
                        sender.tell_blocking(PlaneEvent::Done(job.run(&host)));
                    }
                })?;
            Ok(to_lane)
        };
        Ok(Self {
            reads: lane("reads", 0)?,
            upkeep: lane("upkeep", NICE)?,
            // Not niced: requests wait for what is opened, and the other side for each piece of a
            // copy, which it would give up.
            copies: lane("copies", 0)?,
        })
    }

    /// Runs a job soon, on its lane.
    pub(crate) fn run(&self, job: Job) {
        let lane = match job.lane() {
            Lane::Reads => &self.reads,
            Lane::Upkeep => &self.upkeep,
            Lane::Copies => &self.copies,
        };
        // The threads end only with the process.
        let _ = lane.send(job);
    }
}
