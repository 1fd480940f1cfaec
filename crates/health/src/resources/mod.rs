//! Who is short of resources: readings become levels, levels become advice.
//!
//! Knows nothing about failure detection, nor about who follows the advice.

mod capacity;
mod governor;
mod reading;
mod settings;

pub use capacity::{CapacityWanted, capacity_wanted};
pub use governor::{Advice, Governor, Level, Resource, ResourceState, Verdict};
pub use reading::{Cpu, Reading, Sample, Share, Space, Unread};
pub use settings::{Band, GovernorSettings, GovernorSettingsInvalid, Marks, SpaceMark};
