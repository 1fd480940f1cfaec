//! The thread that prepares the next segment while the present one fills. Knows nothing of
//! groups.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::thread::JoinHandle;
use std::time::Instant;

use super::disk::{Disk, SegmentFile};

/// A file that is ready to become a segment.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) file_number: u32,
    pub(super) file: Arc<dyn SegmentFile>,
    pub(super) bytes: u64,
}

pub(super) fn file_name(number: u32) -> String {
    format!("segment-{number:08x}")
}

#[derive(Debug)]
struct Request {
    file_number: u32,
    bytes: u64,
}

/// Prepares one file at a time.
#[derive(Debug)]
pub(super) struct Preparer {
    requests: Option<SyncSender<Request>>,
    results: Receiver<io::Result<Prepared>>,
    /// A file is being prepared.
    busy: bool,
    /// Somebody waits for it, so no pauses.
    urgent: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Preparer {
    pub(super) fn start(disk: Arc<dyn Disk>) -> io::Result<Self> {
        let (requests, incoming) = sync_channel::<Request>(1);
        let (outgoing, results) = sync_channel(1);
        let urgent = Arc::new(AtomicBool::new(false));
        let hurry = Arc::clone(&urgent);
        let thread = std::thread::Builder::new()
            .name("journal-prepare".into())
            .spawn(move || {
                for request in incoming {
                    if outgoing.send(prepare(&*disk, &request, &hurry)).is_err() {
                        break;
                    }
                }
            })?;
        Ok(Self {
            requests: Some(requests),
            results,
            busy: false,
            urgent,
            thread: Some(thread),
        })
    }

    pub(super) fn is_busy(&self) -> bool {
        self.busy
    }

    pub(super) fn request(&mut self, file_number: u32, bytes: u64) {
        if let Some(requests) = &self.requests {
            self.urgent.store(false, Ordering::Relaxed);
            self.busy = requests.send(Request { file_number, bytes }).is_ok();
        }
    }

    /// The prepared file, if it is ready.
    pub(super) fn poll(&mut self) -> Option<io::Result<Prepared>> {
        match self.results.try_recv() {
            Ok(result) => {
                self.busy = false;
                Some(result)
            }
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Disconnected) => {
                self.busy = false;
                None
            }
        }
    }

    /// The prepared file, as soon as it is ready; `None` if none is being prepared.
    pub(super) fn wait(&mut self) -> Option<io::Result<Prepared>> {
        if !self.busy {
            return None;
        }
        self.urgent.store(true, Ordering::Relaxed);
        self.busy = false;
        self.results.recv().ok()
    }
}

impl Drop for Preparer {
    fn drop(&mut self) {
        self.urgent.store(true, Ordering::Relaxed);
        self.requests = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn prepare(disk: &dyn Disk, request: &Request, urgent: &AtomicBool) -> io::Result<Prepared> {
    let last = std::cell::Cell::new(Instant::now());
    // Rests for as long as a piece took: the disk belongs to the commits.
    let pause = || {
        if !urgent.load(Ordering::Relaxed) {
            std::thread::sleep(last.get().elapsed());
        }
        last.set(Instant::now());
    };
    let file = disk.create(&file_name(request.file_number), request.bytes, &pause)?;
    Ok(Prepared {
        file_number: request.file_number,
        file,
        bytes: request.bytes,
    })
}
