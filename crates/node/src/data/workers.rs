//! Threads for what may block: reads of ranges and of the journal, copies, and niced housekeeping.
//!
//! Knows nothing of what a job does; a job reports by an event.

use std::sync::mpsc;

type Job = Box<dyn FnOnce() + Send>;

/// Jobs that may wait for the reading thread.
const READS_WAITING_MAX: usize = 1_024;
/// Jobs that may wait for the housekeeping thread.
const UPKEEP_WAITING_MAX: usize = 4_096;
/// Jobs that may wait for the copying thread: far more than there are copies at once.
const COPIES_WAITING_MAX: usize = 64;
/// How far housekeeping steps back behind requests.
const NICE: i32 = 10;

/// The lanes of background work.
#[derive(Debug, Clone)]
pub(crate) struct Workers {
    reads: mpsc::SyncSender<Job>,
    upkeep: mpsc::SyncSender<Job>,
    copies: mpsc::SyncSender<Job>,
}

impl Workers {
    /// Starts the threads.
    ///
    /// # Errors
    /// If the system refuses a thread.
    pub(crate) fn start() -> std::io::Result<Self> {
        Ok(Self {
            reads: lane("reads", READS_WAITING_MAX, 0)?,
            upkeep: lane("upkeep", UPKEEP_WAITING_MAX, NICE)?,
            // Not niced: the other side waits for each piece, and would give the copy up.
            copies: lane("copies", COPIES_WAITING_MAX, 0)?,
        })
    }

    /// Runs a job soon. False if too many wait: nothing will be done.
    pub(crate) fn read(&self, job: impl FnOnce() + Send + 'static) -> bool {
        self.reads.try_send(Box::new(job)).is_ok()
    }

    /// Runs a job when there is time. False if too many wait: nothing will be done.
    pub(crate) fn upkeep(&self, job: impl FnOnce() + Send + 'static) -> bool {
        self.upkeep.try_send(Box::new(job)).is_ok()
    }

    /// Reads or stores a piece of a copy. False if too many wait: nothing will be done.
    pub(crate) fn copy(&self, job: impl FnOnce() + Send + 'static) -> bool {
        self.copies.try_send(Box::new(job)).is_ok()
    }
}

/// A thread that does one job after the other.
fn lane(name: &str, waiting_max: usize, nice: i32) -> std::io::Result<mpsc::SyncSender<Job>> {
    let (sender, jobs) = mpsc::sync_channel::<Job>(waiting_max);
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(move || {
            // Of the thread, not of the process; without it the lane is only less polite.
            let _ = rustix::process::nice(nice);
            jobs.into_iter().for_each(|job| job());
        })?;
    Ok(sender)
}
