//! Levels with a band and a dwell time, and what each level advises.
//!
//! Knows nothing about where readings come from.

use core::fmt;
use std::collections::BTreeMap;
use std::time::Duration;

use super::{Band, Cpu, GovernorSettings, Marks, Reading, Share, Space, SpaceMark, Unread};

/// How short a resource is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// There is enough.
    #[default]
    Ok,
    /// It runs short: give it no more to do.
    Warn,
    /// It is short: take something away.
    High,
    /// It is about to run out.
    Critical,
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::High => "high",
            Self::Critical => "critical",
        })
    }
}

/// What can run short.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Resource {
    /// Processors.
    Cpu,
    /// Memory.
    Memory,
    /// Bytes on disk.
    Disk,
    /// Files on disk.
    Files,
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cpu => "cpu",
            Self::Memory => "memory",
            Self::Disk => "disk",
            Self::Files => "files",
        })
    }
}

/// What should be done about it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Advice {
    /// Place nothing new here.
    pub stop_placing: bool,
    /// Move partitions to other nodes.
    pub move_partitions: bool,
    /// Let other nodes be primary.
    pub move_primaries: bool,
    /// Refuse writes that add data; deletes and reads go on.
    pub refuse_writes: bool,
}

impl Advice {
    /// What a resource at a level calls for. Moving data costs processors and memory, so where
    /// these are short the offices move first; a full disk is relieved only by moving data.
    pub fn on(resource: Resource, level: Level) -> Self {
        let space = matches!(resource, Resource::Disk | Resource::Files);
        Self {
            stop_placing: level >= Level::Warn,
            move_partitions: level >= if space { Level::High } else { Level::Critical },
            move_primaries: level >= if space { Level::Critical } else { Level::High },
            refuse_writes: level == Level::Critical && resource != Resource::Cpu,
        }
    }

    /// Everything that either calls for.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            stop_placing: self.stop_placing || other.stop_placing,
            move_partitions: self.move_partitions || other.move_partitions,
            move_primaries: self.move_primaries || other.move_primaries,
            refuse_writes: self.refuse_writes || other.refuse_writes,
        }
    }
}

/// What is concluded of one resource.
#[derive(Clone, Debug, PartialEq)]
pub struct ResourceState {
    /// Its level.
    pub level: Level,
    /// Since when it has that level.
    pub since: Duration,
    /// What the level rests on, in words with numbers.
    pub reason: String,
    /// Why it is not read at present; the level is then the last one known.
    pub unread: Option<Unread>,
    /// When it was last read.
    pub read_at: Option<Duration>,
}

/// What is concluded of a machine.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// The worst level of all.
    pub level: Level,
    /// Every resource for itself.
    pub resources: BTreeMap<Resource, ResourceState>,
    /// What should be done.
    pub advice: Advice,
    /// Whether some resource that was read before has not been read for too long.
    pub stale: bool,
}

#[derive(Clone, Debug)]
struct Tracked {
    state: ResourceState,
    /// A level that would replace the present one, and since when it would.
    pending: Option<(Level, Duration)>,
}

/// Turns readings into levels; a level changes only when its cause has lasted.
#[derive(Clone, Debug)]
pub struct Governor {
    settings: GovernorSettings,
    tracked: BTreeMap<Resource, Tracked>,
}

impl Governor {
    /// A governor that has seen nothing and finds everything in order.
    pub fn new(settings: GovernorSettings) -> Self {
        Self {
            settings,
            tracked: BTreeMap::new(),
        }
    }

    /// Takes a reading made at `now`.
    pub fn take(&mut self, now: Duration, reading: &Reading) {
        let Reading {
            cpu,
            memory,
            disk,
            files,
        } = reading;
        let (cpu_marks, load_band) = (self.settings.cpu, self.settings.load_band);
        let space_band = self.settings.space_band;
        let cpu = cpu.as_ref().map(|cpu| {
            let level = |current| load_level(&cpu_marks, cpu.used, current, load_band);
            (level(self.level(Resource::Cpu)), load_reason(cpu))
        });
        self.observe(now, Resource::Cpu, cpu, self.settings.load_dwell);
        let spaces = [
            (
                Resource::Memory,
                memory,
                self.settings.memory,
                self.settings.memory_dwell,
            ),
            // A disk fills for good: what lasts long enough to be read has lasted long enough.
            (Resource::Disk, disk, self.settings.disk, Duration::ZERO),
            (Resource::Files, files, self.settings.files, Duration::ZERO),
        ];
        for (resource, space, marks, dwell) in spaces {
            let current = self.level(resource);
            let seen = space.as_ref().map(|space| {
                (
                    space_level(&marks, *space, current, space_band),
                    space_reason(*space, &marks),
                )
            });
            self.observe(now, resource, seen, dwell);
        }
    }

    /// The conclusion at `now`.
    pub fn verdict(&self, now: Duration) -> Verdict {
        let states = || {
            self.tracked
                .iter()
                .map(|(resource, t)| (*resource, &t.state))
        };
        let stale_after = self.settings.stale_after;
        Verdict {
            level: states()
                .map(|(_, state)| state.level)
                .max()
                .unwrap_or_default(),
            resources: states()
                .map(|(resource, state)| (resource, state.clone()))
                .collect(),
            advice: states()
                .map(|(resource, state)| Advice::on(resource, state.level))
                .fold(Advice::default(), Advice::and),
            stale: states()
                .filter_map(|(_, state)| state.read_at)
                .any(|read| now.saturating_sub(read) > stale_after),
        }
    }

    fn level(&self, resource: Resource) -> Level {
        self.tracked
            .get(&resource)
            .map_or(Level::Ok, |tracked| tracked.state.level)
    }

    fn observe(
        &mut self,
        now: Duration,
        resource: Resource,
        seen: Result<(Level, String), &Unread>,
        rise_dwell: Duration,
    ) {
        let recovery_dwell = self.settings.recovery_dwell;
        let tracked = self
            .tracked
            .entry(resource)
            .or_insert_with(|| Tracked::new(now));
        match seen {
            Ok((level, reason)) => {
                let dwell = if level > tracked.state.level {
                    rise_dwell
                } else {
                    recovery_dwell
                };
                tracked.observe(now, level, reason, dwell);
            }
            Err(unread) => {
                // Nothing may be concluded from what was not seen, recovery least of all.
                tracked.state.unread = Some(unread.clone());
                tracked.pending = None;
            }
        }
    }
}

impl Tracked {
    fn new(now: Duration) -> Self {
        let reason = "not read yet".to_owned();
        let state = ResourceState {
            level: Level::Ok,
            since: now,
            reason,
            unread: None,
            read_at: None,
        };
        Self {
            state,
            pending: None,
        }
    }

    fn observe(&mut self, now: Duration, seen: Level, reason: String, dwell: Duration) {
        self.state.unread = None;
        self.state.read_at = Some(now);
        self.state.reason = reason;
        let current = self.state.level;
        if seen == current {
            self.pending = None;
            return;
        }
        // Of what was seen in one direction the mildest change has lasted all the time.
        let (next, since) = match self.pending {
            Some((pending, since)) if seen > current && pending > current => {
                (pending.min(seen), since)
            }
            Some((pending, since)) if seen < current && pending < current => {
                (pending.max(seen), since)
            }
            _ => (seen, now),
        };
        self.pending = Some((next, since));
        if now.saturating_sub(since) >= dwell {
            self.state.level = next;
            self.state.since = now;
            self.pending = None;
        }
    }
}

/// The level of a load; those up to `current` are left only when the load is below the band.
fn load_level(marks: &Marks<Share>, used: Share, current: Level, band: Band) -> Level {
    let reaches = |level: Level, mark: Share| {
        let band = if level <= current { band } else { Band::NONE };
        used.as_percent() >= mark.as_percent() - band.percent
    };
    highest(marks, reaches)
}

fn space_level(marks: &Marks<SpaceMark>, space: Space, current: Level, band: Band) -> Level {
    let reaches = |level: Level, mark: SpaceMark| {
        mark.is_below(space, if level <= current { band } else { Band::NONE })
    };
    highest(marks, reaches)
}

fn highest<T: Copy>(marks: &Marks<T>, reaches: impl Fn(Level, T) -> bool) -> Level {
    [
        (Level::Critical, marks.critical),
        (Level::High, marks.high),
        (Level::Warn, marks.warn),
    ]
    .into_iter()
    .find(|(level, mark)| reaches(*level, *mark))
    .map_or(Level::Ok, |(level, _)| level)
}

fn load_reason(cpu: &Cpu) -> String {
    let used = cpu.used.as_percent();
    match cpu.waiting {
        Some(waiting) => format!("{used:.0} % used, {:.0} % waited", waiting.as_percent()),
        None => format!("{used:.0} % used"),
    }
}

fn space_reason(space: Space, marks: &Marks<SpaceMark>) -> String {
    let [warn, high, critical] =
        [marks.warn, marks.high, marks.critical].map(|mark| mark.free_below(space.total));
    format!(
        "{} of {} free ({:.1} % used); warn below {warn}, high below {high}, critical below \
         {critical}",
        space.available,
        space.total,
        space.used().as_percent()
    )
}
