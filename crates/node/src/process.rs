//! What this process uses, as metrics under the names that every process shows it by.
//!
//! Read below `/proc`: on another system than Linux nothing is shown. Knows nothing of what the
//! process does.

use std::fs;

use rustix::process::{Resource, getrlimit};

use crate::metrics::Metrics;

/// What the kernel counts times in for programs, whatever it does inside: the same on all machines
/// that this is built for.
const TICKS_PER_SECOND: f64 = 100.0;

/// What it uses.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Process {
    cpu_seconds: f64,
    /// In seconds after 1970.
    started_seconds: f64,
    virtual_bytes: u64,
    resident_bytes: u64,
}

/// Shows what can be read. Blocks for as long as the kernel takes to list open files.
pub(crate) fn show(metrics: &Metrics) {
    let text = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let (stat, status) = (text("/proc/self/stat"), text("/proc/self/status"));
    if let Some(process) = parse(&stat, &status, &text("/proc/stat")) {
        show_usage(&process, metrics);
    }
    if let Ok(open) = fs::read_dir("/proc/self/fd") {
        // One of them is what the list is read through.
        let open = open.count().saturating_sub(1);
        metrics.show("process_open_fds", "Open file descriptors.", open as u64);
        metrics.show(
            "process_max_fds",
            "File descriptors that may be open.",
            getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX),
        );
    }
}

fn show_usage(process: &Process, metrics: &Metrics) {
    let help = "Processor time in seconds, of the process itself and of the system for it.";
    let seconds = metrics.decimal_total("process_cpu_seconds_total", help, &[]);
    seconds.assign(process.cpu_seconds);
    let help = "When the process was started, in seconds after 1970. A start anew of a node that \
                the cluster held dead keeps its process.";
    let started = metrics.decimal("process_start_time_seconds", help, &[]);
    started.assign(process.started_seconds);
    let sizes = [
        (
            "process_resident_memory_bytes",
            "Memory that the process has in use.",
            process.resident_bytes,
        ),
        (
            "process_virtual_memory_bytes",
            "Addresses that the process has reserved, most of them without memory.",
            process.virtual_bytes,
        ),
    ];
    for (name, help, bytes) in sizes {
        metrics.show(name, help, bytes);
    }
}

/// From the process's own two files, and that of the machine, which has when it booted.
fn parse(stat: &str, status: &str, machine: &str) -> Option<Process> {
    // The name of the program is in brackets and may have any in itself.
    let (_, after_name) = stat.rsplit_once(") ")?;
    // The first is the third of the file.
    let fields: Vec<&str> = after_name.split_whitespace().collect();
    let ticks = |number: usize| fields.get(number - 3)?.parse::<f64>().ok();
    let (user, system, since_boot) = (ticks(14)?, ticks(15)?, ticks(22)?);
    let booted: f64 = machine
        .lines()
        .find_map(|line| line.strip_prefix("btime "))
        .and_then(|seconds| seconds.trim().parse().ok())?;
    let bytes = |name: &str| -> Option<u64> {
        let value = status.lines().find_map(|line| line.strip_prefix(name))?;
        let kib: u64 = value.trim().strip_suffix(" kB")?.parse().ok()?;
        kib.checked_mul(1024)
    };
    Some(Process {
        cpu_seconds: (user + system) / TICKS_PER_SECOND,
        started_seconds: booted + since_boot / TICKS_PER_SECOND,
        virtual_bytes: bytes("VmSize:")?,
        resident_bytes: bytes("VmRSS:")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_read_whatever_its_name_is() {
        let stat = "7 (a) (b) S 1 7 7 0 -1 4194560 100 0 0 0 150 50 0 0 20 0 9 0 250 1 2 3\n";
        let status = "Name:\ta) (b\nVmSize:\t    2048 kB\nVmRSS:\t    1024 kB\nThreads:\t9\n";
        let machine = "cpu  1 2 3\nbtime 1700000000\nprocesses 9\n";
        let expected = Process {
            cpu_seconds: 2.0,
            started_seconds: 1_700_000_002.5,
            virtual_bytes: 2 << 20,
            resident_bytes: 1 << 20,
        };
        assert_eq!(parse(stat, status, machine), Some(expected));
        for (stat, status) in [("7 (a) S 1", status), (stat, "VmSize:\t2 kB\n"), ("", "")] {
            assert_eq!(parse(stat, status, machine), None);
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_has_memory_descriptors_and_a_start() {
        let metrics = Metrics::new();
        show(&metrics);
        let gauge = |name| metrics.gauge(name, "", &[]).value();
        assert!(gauge("process_resident_memory_bytes") > 0);
        assert!(gauge("process_open_fds") > 0);
        assert!(gauge("process_open_fds") <= gauge("process_max_fds"));
        let started = metrics.decimal("process_start_time_seconds", "", &[]);
        assert!(started.value() > 1_500_000_000.0);
    }
}
