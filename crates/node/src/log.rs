//! The log of a node: lines wait in a bounded queue until a thread of its own has written them.
//!
//! Whoever logs never waits for whoever reads. A line that does not fit, because the reader of
//! standard error is stuck, or that cannot be written, because it is gone, is dropped and counted;
//! as soon as lines can be written again, one says how many are missing at that place. Knows
//! nothing of what the lines say.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::collections::VecDeque;
use std::io::{self, ErrorKind, IsTerminal as _, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use serde_json::json;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime as _, SystemTime};
use tracing_subscriber::util::{SubscriberInitExt as _, TryInitError};

use crate::metrics::{Counter, Metrics};

/// Bytes that may wait: seconds of a node that logs much, and little beside its other memory.
const QUEUE_BYTES_MAX: usize = 1 << 20;
/// Lines that may wait: bounds what a line costs beside its text.
const QUEUE_LINES_MAX: usize = 8 << 10;
/// How long the end of a process waits for its last lines. A reader that lives takes them in far
/// less; one that is stuck may not keep a node from ending.
const SETTLE_MAX: Duration = Duration::from_millis(200);
/// Between two attempts, if somebody has made standard error non-blocking and it is full.
const FULL_PAUSE: Duration = Duration::from_millis(10);

/// How lines are written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// For programs: one JSON object a line.
    Json,
}

/// Takes lines, without ever waiting for them to be written.
#[derive(Debug, Clone)]
pub struct Log(Arc<SharedLines>);

#[derive(Debug)]
struct SharedLines {
    queue: Mutex<Queue>,
    /// There is something to write.
    arrived: Condvar,
    /// There is nothing left to write.
    settled: Condvar,
    dropped: Arc<Counter>,
    /// Text until somebody says otherwise.
    format: OnceLock<LogFormat>,
}

#[derive(Debug, Default)]
struct Queue {
    lines: VecDeque<Line>,
    /// In all lines.
    bytes: usize,
    /// Lines that did not fit since the last one that did.
    lost: u64,
    /// A line has been taken and is being written.
    writing: bool,
}

/// What is written next; a text that is empty if only lost lines are to be told.
#[derive(Debug)]
struct Line {
    lost_before: u64,
    text: Box<[u8]>,
}

impl Queue {
    fn is_settled(&self) -> bool {
        self.lines.is_empty() && self.lost == 0 && !self.writing
    }
}

impl Log {
    /// A log on standard error, which counts in `metrics` what it drops.
    ///
    /// # Errors
    /// If no thread can be started.
    pub fn on_stderr(metrics: &Metrics) -> io::Result<Self> {
        Self::start(Stderr, metrics)
    }

    fn start(sink: impl Write + Send + 'static, metrics: &Metrics) -> io::Result<Self> {
        let dropped = metrics.counter(
            "tablestore_log_lines_dropped_total",
            "Lines of the log that nobody could be given: the reader is gone, or too slow.",
            &[],
        );
        let log = Self(Arc::new(SharedLines {
            queue: Mutex::default(),
            arrived: Condvar::new(),
            settled: Condvar::new(),
            dropped,
            format: OnceLock::new(),
        }));
        let shared = Arc::clone(&log.0);
        // Nobody waits for this thread: it may be stuck in a write when the process ends.
        std::thread::Builder::new()
            .name("log".to_owned())
            .spawn(move || shared.write_lines(sink))?;
        Ok(log)
    }

    /// From now on this process logs here what passes the filter, and a panic of any thread is
    /// told here and ends the process: a node is never half alive.
    ///
    /// # Errors
    /// If the process logs elsewhere already.
    pub fn take_over(&self, filter: EnvFilter, format: LogFormat) -> Result<(), TryInitError> {
        let lines = tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_writer(self.clone())
            .with_ansi(io::stderr().is_terminal())
            // They would go to standard error, and a panic follows if nobody reads there.
            .log_internal_errors(false);
        match format {
            LogFormat::Text => lines.finish().try_init()?,
            LogFormat::Json => lines.with_ansi(false).json().finish().try_init()?,
        }
        let _ = self.0.format.set(format);
        let log = self.clone();
        std::panic::set_hook(Box::new(move |panic| {
            let thread = std::thread::current();
            let name = thread.name().unwrap_or("without a name");
            let mut text = format!("thread '{name}' {panic}\n");
            let backtrace = Backtrace::capture();
            if backtrace.status() == BacktraceStatus::Captured {
                text.push_str(&backtrace.to_string());
            }
            log.last_words(&text);
            log.settle();
            std::process::abort();
        }));
        Ok(())
    }

    /// Queues what a process says before it ends, in the form of the other lines.
    pub fn last_words(&self, text: &str) {
        match self.0.format() {
            LogFormat::Text => self.line(text.as_bytes()),
            LogFormat::Json => self.line(object("ERROR", text.trim_end(), None).as_bytes()),
        }
    }

    /// Queues a line, with its line break; drops it if there is no room.
    pub fn line(&self, text: &[u8]) {
        let mut queue = self.0.queue();
        if queue.lines.len() >= QUEUE_LINES_MAX || text.len() > QUEUE_BYTES_MAX - queue.bytes {
            queue.lost += 1;
            self.0.dropped.increment();
        } else {
            queue.bytes += text.len();
            let lost_before = std::mem::take(&mut queue.lost);
            let text = text.into();
            queue.lines.push_back(Line { lost_before, text });
        }
        drop(queue);
        self.0.arrived.notify_one();
    }

    /// Waits until all lines are written, but not long: for the end of a process.
    pub fn settle(&self) {
        let queue = self.0.queue();
        let is_open = |queue: &mut Queue| !queue.is_settled();
        let settled = &self.0.settled;
        // Whether they were written or not: the process ends.
        drop(settled.wait_timeout_while(queue, SETTLE_MAX, is_open));
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = &'a Self;

    fn make_writer(&'a self) -> Self::Writer {
        self
    }
}

/// One call is one line, as the subscriber does it.
impl Write for &Log {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        self.line(text);
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl SharedLines {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn format(&self) -> LogFormat {
        self.format.get().copied().unwrap_or_default()
    }

    fn write_lines(&self, sink: impl Write) {
        let mut pen = Pen { sink, torn: false };
        let mut untold = 0;
        loop {
            let line = self.next();
            untold += line.lost_before;
            if untold > 0 && pen.write(missing(untold, self.format()).as_bytes()) {
                untold = 0;
            }
            if !pen.write(&line.text) {
                self.dropped.increment();
                untold += 1;
            }
        }
    }

    /// Waits for something to write.
    fn next(&self) -> Line {
        let mut queue = self.queue();
        queue.writing = false;
        if queue.is_settled() {
            self.settled.notify_all();
        }
        let mut queue = self
            .arrived
            .wait_while(queue, |queue| queue.is_settled())
            .unwrap_or_else(PoisonError::into_inner);
        queue.writing = true;
        let line = queue.lines.pop_front().unwrap_or_else(|| Line {
            lost_before: std::mem::take(&mut queue.lost),
            text: Box::default(),
        });
        queue.bytes -= line.text.len();
        line
    }
}

/// A line about lines, in the form of the others.
fn missing(lines: u64, format: LogFormat) -> String {
    const MISSING: &str = "lines of the log are missing here";
    if format == LogFormat::Json {
        return object("WARN", MISSING, Some(lines));
    }
    let mut text = now();
    text.push_str("  WARN ");
    text.push_str(module_path!());
    text.push_str(&format!(": {MISSING} lines={lines}\n"));
    text
}

/// A line as the subscriber writes it in JSON.
fn object(level: &str, message: &str, lines: Option<u64>) -> String {
    let mut fields = json!({ "message": message });
    if let Some(lines) = lines {
        fields["lines"] = lines.into();
    }
    let (timestamp, target) = (now(), module_path!());
    let line = json!({
        "timestamp": timestamp, "level": level, "fields": fields, "target": target,
    });
    format!("{line}\n")
}

fn now() -> String {
    let mut text = String::new();
    // Without the time a line says what matters, too.
    let _ = SystemTime.format_time(&mut Writer::new(&mut text));
    text
}

/// Writes whole lines.
struct Pen<W> {
    sink: W,
    /// The last line broke off: what comes next begins a new one.
    torn: bool,
}

impl<W: Write> Pen<W> {
    /// Whether it was written, all of it.
    fn write(&mut self, text: &[u8]) -> bool {
        if text.is_empty() {
            return true;
        }
        if self.torn && self.put(b"\n") == 0 {
            return false;
        }
        let written = self.put(text);
        self.torn = (1..text.len()).contains(&written);
        written == text.len()
    }

    /// How much was written before it failed.
    fn put(&mut self, text: &[u8]) -> usize {
        let mut written = 0;
        while written < text.len() {
            match self.sink.write(&text[written..]) {
                Ok(bytes @ 1..) => written += bytes,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    std::thread::sleep(FULL_PAUSE);
                }
                Ok(0) | Err(_) => break,
            }
        }
        written
    }
}

/// Standard error without the lock of the standard library: whoever holds that during a write to a
/// reader that is stuck would stop all others.
struct Stderr;

impl Write for Stderr {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        Ok(rustix::io::write(io::stderr(), text)?)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail by panic")]
    use std::os::unix::process::ExitStatusExt as _;
    use std::process::{Command, Stdio};
    use std::sync::mpsc::{Receiver, Sender, channel};
    use std::time::Instant;

    use super::*;

    /// Longer than anything here takes.
    const BOUND: Duration = Duration::from_secs(60);

    /// A reader that takes a piece when the test says how.
    struct Stuck {
        asked: Sender<Vec<u8>>,
        outcomes: Receiver<io::Result<usize>>,
    }

    impl Write for Stuck {
        fn write(&mut self, text: &[u8]) -> io::Result<usize> {
            self.asked.send(text.to_vec()).unwrap();
            self.outcomes.recv().unwrap()
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    struct Reader {
        log: Log,
        asked: Receiver<Vec<u8>>,
        outcomes: Sender<io::Result<usize>>,
    }

    impl Reader {
        fn new() -> Self {
            let (asked, outcomes) = (channel(), channel());
            let stuck = Stuck {
                asked: asked.0,
                outcomes: outcomes.1,
            };
            Self {
                log: Log::start(stuck, &Metrics::new()).unwrap(),
                asked: asked.1,
                outcomes: outcomes.0,
            }
        }

        /// What the log would write next.
        fn next(&self) -> String {
            String::from_utf8(self.asked.recv_timeout(BOUND).unwrap()).unwrap()
        }

        fn takes(&self, bytes: usize) {
            self.outcomes.send(Ok(bytes)).unwrap();
        }

        fn fails(&self) {
            let gone = io::Error::from(ErrorKind::BrokenPipe);
            self.outcomes.send(Err(gone)).unwrap();
        }

        fn dropped(&self) -> u64 {
            self.log.0.dropped.value()
        }
    }

    #[test]
    fn what_does_not_fit_is_dropped_counted_and_told_in_its_place() {
        let reader = Reader::new();
        reader.log.line(b"first\n");
        assert_eq!(reader.next(), "first\n");
        let half = vec![b'x'; QUEUE_BYTES_MAX / 2];
        for _ in 0..5 {
            reader.log.line(&half);
        }
        assert_eq!(reader.dropped(), 3);
        reader.takes(6);
        assert_eq!(reader.next().len(), half.len());
        reader.log.line(b"after\n");
        for _ in 0..2 {
            reader.takes(half.len());
            let _ = reader.next();
        }
        reader.takes(0);
        // The notice could not be written, so it is asked again before the next line.
        assert_eq!(reader.next(), "after\n");
        reader.takes(6);
        reader.log.line(b"last\n");
        let told = reader.next();
        assert!(told.ends_with("missing here lines=3\n"), "{told}");
        assert!(
            told.contains(" WARN tablestore_node::log: lines of"),
            "{told}"
        );
        reader.takes(told.len());
        assert_eq!(reader.next(), "last\n");
        assert_eq!(reader.dropped(), 3);
    }

    #[test]
    fn lines_are_bounded_in_number_and_the_missing_are_told_when_nothing_follows() {
        let reader = Reader::new();
        reader.log.line(b"1\n");
        let _ = reader.next();
        for _ in 0..QUEUE_LINES_MAX + 7 {
            reader.log.line(b"2\n");
        }
        assert_eq!(reader.dropped(), 7);
        for _ in 0..QUEUE_LINES_MAX {
            reader.takes(2);
            assert_eq!(reader.next(), "2\n");
        }
        reader.takes(2);
        assert!(reader.next().ends_with("lines=7\n"));
    }

    #[test]
    fn what_cannot_be_written_is_dropped_counted_and_told_on_a_line_of_its_own() {
        let reader = Reader::new();
        reader.log.line(b"torn off\n");
        let _ = reader.next();
        reader.takes(4);
        assert_eq!(reader.next(), " off\n");
        reader.fails();
        reader.log.line(b"lost\n");
        // The line break before the notice, and the one before the line.
        for _ in 0..2 {
            assert_eq!(reader.next(), "\n");
            reader.fails();
        }
        reader.log.line(b"back\n");
        assert_eq!(reader.next(), "\n");
        assert_eq!(reader.dropped(), 2);
        reader.takes(1);
        let told = reader.next();
        assert!(told.ends_with("lines=2\n"), "{told}");
        reader.takes(told.len());
        assert_eq!(reader.next(), "back\n");
        reader.takes(5);
        reader.log.settle();
        assert_eq!(reader.dropped(), 2);
    }

    #[test]
    fn the_end_waits_for_the_last_lines_and_not_for_a_reader_that_is_stuck() {
        let reader = Reader::new();
        reader.log.line(b"last\n");
        let begun = Instant::now();
        reader.log.settle();
        assert!(begun.elapsed() >= SETTLE_MAX);
        assert!(!reader.log.0.queue().is_settled());
        reader.takes(5);
        while !reader.log.0.queue().is_settled() {
            reader.log.settle();
        }
        assert_eq!(reader.dropped(), 0);
    }

    const PANICS: &str = "TABLESTORE_TEST_PANICS";

    /// Runs in a process of its own: it says why a thread panicked, and is gone.
    #[test]
    fn a_panic_of_any_thread_is_told_and_ends_the_process_whether_somebody_reads_or_not() {
        if std::env::var_os(PANICS).is_some() {
            let log = Log::on_stderr(&Metrics::new()).unwrap();
            log.take_over(EnvFilter::new("info"), LogFormat::Text)
                .unwrap();
            tracing::info!("before");
            let thread = std::thread::Builder::new().name("half".to_owned());
            let panics = thread.spawn(|| panic!("a broken invariant"));
            let _ = panics.unwrap().join();
            return;
        }
        let own =
            "a_panic_of_any_thread_is_told_and_ends_the_process_whether_somebody_reads_or_not";
        let mut command = Command::new(std::env::current_exe().unwrap());
        command
            .args(["--exact", &format!("log::tests::{own}"), "--nocapture"])
            .env(PANICS, "1")
            .env_remove("RUST_BACKTRACE")
            .stdout(Stdio::null());
        let read = command.output().unwrap();
        let said = String::from_utf8_lossy(&read.stderr);
        assert_eq!(read.status.signal(), Some(6), "{said}");
        assert!(said.contains("before\nthread 'half' panicked at"), "{said}");
        assert!(said.ends_with("a broken invariant\n"), "{said}");
        let (reader, writer) = io::pipe().unwrap();
        drop(reader);
        let unread = command.stderr(writer).status().unwrap();
        assert_eq!(unread.signal(), Some(6));
    }
}
