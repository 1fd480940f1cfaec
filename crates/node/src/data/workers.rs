//! Threads for what may block: reads of ranges and of the journal, and niced housekeeping.
//!
//! Knows nothing of what a job does; a job reports by an event.

use std::sync::mpsc;

type Job = Box<dyn FnOnce() + Send>;

/// Jobs that may wait for the reading thread.
const READS_WAITING_MAX: usize = 1_024;
/// Jobs that may wait for the housekeeping thread.
const UPKEEP_WAITING_MAX: usize = 4_096;
/// How far housekeeping steps back behind requests.
const UPKEEP_NICE: i32 = 10;

/// Two lanes of background work.
#[derive(Debug, Clone)]
pub(crate) struct Workers {
    reads: mpsc::SyncSender<Job>,
    upkeep: mpsc::SyncSender<Job>,
}

impl Workers {
    /// Starts both threads.
    ///
    /// # Errors
    /// If the system refuses a thread.
    pub(crate) fn start() -> std::io::Result<Self> {
        let (reads, read_jobs) = mpsc::sync_channel::<Job>(READS_WAITING_MAX);
        let (upkeep, upkeep_jobs) = mpsc::sync_channel::<Job>(UPKEEP_WAITING_MAX);
        let work = |jobs: mpsc::Receiver<Job>| move || jobs.into_iter().for_each(|job| job());
        let run_reads = work(read_jobs);
        let run_upkeep = work(upkeep_jobs);
        std::thread::Builder::new()
            .name("reads".to_owned())
            .spawn(run_reads)?;
        std::thread::Builder::new()
            .name("upkeep".to_owned())
            .spawn(move || {
                // Of the thread, not of the process; without it housekeeping is only less polite.
                let _ = rustix::process::nice(UPKEEP_NICE);
                run_upkeep();
            })?;
        Ok(Self { reads, upkeep })
    }

    /// Runs a job soon. False if too many wait: nothing will be done.
    pub(crate) fn read(&self, job: impl FnOnce() + Send + 'static) -> bool {
        self.reads.try_send(Box::new(job)).is_ok()
    }

    /// Runs a job when there is time. False if too many wait: nothing will be done.
    pub(crate) fn upkeep(&self, job: impl FnOnce() + Send + 'static) -> bool {
        self.upkeep.try_send(Box::new(job)).is_ok()
    }
}
