//! Who is alive and who is short of resources, as pure code: evidence in, verdicts out.
//!
//! The crate knows nothing about sockets, threads, clocks, raft or what nodes do for a living.
//! Time comes in as `now`, a [`Duration`](std::time::Duration) since any fixed moment. It is
//! generic over the node id. The only file that reads the world is the sampler of this
//! machine's resources, behind the feature `sysinfo`.
//!
//! - A [`Detector`] takes [`Evidence`] and answers with a [`Belief`]; [`AccrualDetector`] is ours.
//! - A [`Governor`] takes a [`Reading`] and answers with levels, reasons and [`Advice`].
//!
//! A belief is a hint: acting on a wrong one may cost a needless failover, so nothing that must
//! be true may rest on it.
//!
//! # Watch a node, lose it
//!
//! ```
//! use std::time::Duration;
//! use tablestore_health::{
//!     AccrualDetector, Belief, Death, Detector, DetectorSettings, Evidence, Incarnation, Work,
//! };
//!
//! let ms = Duration::from_millis;
//! let mut detector = AccrualDetector::new(DetectorSettings::default());
//! let (node, incarnation) = ("n2", Incarnation(7));
//! detector.take(ms(0), Evidence::NewIncarnation { node, incarnation });
//! for beat in 1..=20 {
//!     let (now, sent, work) = (ms(beat * 100), ms(beat * 100 - 1), Work::default());
//!     detector.take(now, Evidence::HeartbeatAnswered { node, incarnation, sent, work });
//!     detector.take(now + ms(50), Evidence::Tick);
//! }
//! assert_eq!(detector.belief(ms(2050), &node, incarnation), Belief::Alive);
//!
//! // Its connection closes, and its address refuses twice: it is gone.
//! let address = "127.0.0.1:7002".parse()?;
//! detector.take(ms(2080), Evidence::ConnectionLost { node, incarnation });
//! detector.take(ms(2081), Evidence::ConnectRefused { node, incarnation, address });
//! detector.take(ms(2082), Evidence::ConnectRefused { node, incarnation, address });
//! let dead = Belief::Dead { since: ms(2082), why: Death::CrashHint };
//! assert_eq!(detector.belief(ms(2082), &node, incarnation), dead);
//! # Ok::<(), core::net::AddrParseError>(())
//! ```

mod accrual;
mod belief;
mod detector;
mod evidence;
mod hold_down;
mod intervals;
mod majority;
mod resources;
mod settings;
#[cfg(feature = "sysinfo")]
mod sysinfo_sample;
#[cfg(feature = "testing")]
pub mod testing;
mod watched;

pub use accrual::{AccrualDetector, ProbeWanted};
pub use belief::{Belief, Death};
pub use detector::Detector;
pub use evidence::{Evidence, Incarnation, Probe, Work};
pub use majority::{Reach, reach};
pub use resources::{
    Advice, Band, CapacityWanted, Cpu, Governor, GovernorSettings, GovernorSettingsInvalid, Level,
    Marks, Reading, Resource, ResourceState, Sample, Share, Space, SpaceMark, Unread, Verdict,
    capacity_wanted,
};
pub use settings::{DetectorSettings, DetectorSettingsInvalid};
#[cfg(feature = "sysinfo")]
pub use sysinfo_sample::SysinfoSample;
