//! Reads this machine's resources. The one file of the crate that touches the world.
//!
//! `sysinfo` gives load and memory; control groups, pressure and the file system are read here,
//! because it counts page cache as used and knows neither `cpu` pressure nor files.

use std::fs;
use std::path::{Path, PathBuf};

use sysinfo::System;

use crate::{Cpu, Reading, Sample, Share, Space, Unread};

const CONTROL_GROUP: &str = "/sys/fs/cgroup";
const CPU_PRESSURE: &str = "/proc/pressure/cpu";

/// Samples the machine with `sysinfo`, control groups (version 2) and `statvfs`.
///
/// `statvfs` can hang with its disk: sample on a thread of its own.
#[derive(Debug)]
pub struct SysinfoSample {
    system: Result<System, Unread>,
    directory: PathBuf,
}

impl SysinfoSample {
    /// A sampler that looks at the file system of `directory`.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        let system = System::new().map_err(|error| Unread::new(format!("sysinfo: {error:?}")));
        Self {
            system,
            directory: directory.into(),
        }
    }

    fn cpu(&mut self) -> Result<Cpu, Unread> {
        let system = self.system.as_mut().map_err(|unread| unread.clone())?;
        system.refresh_cpu_usage();
        let used = Share::percent(f64::from(system.global_cpu_usage()));
        let pressure = fs::read_to_string(CPU_PRESSURE).ok();
        Ok(Cpu {
            used,
            waiting: pressure.and_then(|text| some_avg10(&text)),
        })
    }

    fn memory(&mut self) -> Result<Space, Unread> {
        let system = self.system.as_mut().map_err(|unread| unread.clone())?;
        system.refresh_memory();
        let machine = Space {
            total: system.total_memory(),
            available: system.available_memory(),
        };
        if machine.total == 0 {
            return Err(Unread::new("the system reports no memory at all"));
        }
        let limited = control_group_memory(Path::new(CONTROL_GROUP));
        Ok(limited
            .filter(|group| group.available < machine.available)
            .unwrap_or(machine))
    }

    fn file_system(&self) -> (Result<Space, Unread>, Result<Space, Unread>) {
        match rustix::fs::statvfs(&self.directory) {
            Err(error) => {
                let unread = Unread::new(format!("statvfs {}: {error}", self.directory.display()));
                (Err(unread.clone()), Err(unread))
            }
            Ok(stat) => {
                let bytes = |blocks: u64| blocks.saturating_mul(stat.f_frsize);
                let disk = Space {
                    total: bytes(stat.f_blocks),
                    available: bytes(stat.f_bavail),
                };
                let files = Space {
                    total: stat.f_files,
                    available: stat.f_favail,
                };
                (counted(disk, "bytes"), counted(files, "files"))
            }
        }
    }
}

impl Sample for SysinfoSample {
    fn sample(&mut self) -> Reading {
        let (disk, files) = self.file_system();
        Reading {
            cpu: self.cpu(),
            memory: self.memory(),
            disk,
            files,
        }
    }
}

fn counted(space: Space, what: &str) -> Result<Space, Unread> {
    let none = || Unread::new(format!("the file system does not count {what}"));
    (space.total > 0).then_some(space).ok_or_else(none)
}

/// The ten-second average of the line `some` of a pressure file.
fn some_avg10(text: &str) -> Option<Share> {
    let line = text.lines().find(|line| line.starts_with("some "))?;
    let value = line
        .split_whitespace()
        .find_map(|field| field.strip_prefix("avg10="))?;
    value.parse().ok().map(Share::percent)
}

/// The memory of a control group with a limit; page cache that can be dropped counts as free.
fn control_group_memory(group: &Path) -> Option<Space> {
    let number = |name: &str| -> Option<u64> {
        fs::read_to_string(group.join(name))
            .ok()?
            .trim()
            .parse()
            .ok()
    };
    // Without a limit the file says "max", which is no number.
    let total = number("memory.max")?;
    let current = number("memory.current")?;
    let stat = fs::read_to_string(group.join("memory.stat")).ok()?;
    let cache = stat
        .lines()
        .find_map(|line| line.strip_prefix("inactive_file "))?;
    let used = current.saturating_sub(cache.trim().parse().ok()?);
    Some(Space {
        total,
        available: total.saturating_sub(used),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pressure_is_read_from_the_line_of_some() {
        let text = "some avg10=2.89 avg60=0.55 avg300=0.23 total=8942799\n\
                    full avg10=1.00 avg60=0.55 avg300=0.22 total=8433434\n";
        assert_eq!(some_avg10(text), Some(Share::percent(2.89)));
        assert_eq!(some_avg10(""), None);
    }

    #[test]
    fn this_machine_can_be_read() {
        let mut sampler = SysinfoSample::new(env!("CARGO_MANIFEST_DIR"));
        let Reading {
            cpu, memory, disk, ..
        } = sampler.sample();
        assert!(cpu.is_ok(), "{cpu:?}");
        for space in [memory, disk] {
            assert!(
                space
                    .as_ref()
                    .is_ok_and(|space| space.available <= space.total),
                "{space:?}"
            );
        }
    }

    #[test]
    fn a_directory_that_is_not_there_is_unread_and_says_so() {
        let mut sampler = SysinfoSample::new("/nowhere/at/all");
        let reading = sampler.sample();
        assert!(
            reading
                .disk
                .is_err_and(|unread| unread.reason.contains("/nowhere/at/all"))
        );
    }
}
