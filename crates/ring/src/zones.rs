//! Which servers fail together: a number for each zone, and how many zones have how many servers.
//!
//! Knows nothing about tokens and ids.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

#[derive(Clone, Copy, Debug, Default)]
struct Zone {
    members: u32,
    /// Members that hold tokens.
    able: usize,
}

/// The zones of a ring's servers; a server without a zone has one of its own.
#[derive(Clone, Debug, Default)]
pub(crate) struct Zones {
    by_name: BTreeMap<String, u32>,
    zones: Vec<Zone>,
    free: Vec<u32>,
    /// `larger_than[k]`: the zones with more than `k` able members.
    larger_than: Vec<usize>,
}

impl Zones {
    /// Enters a member; the number of its zone.
    pub(crate) fn join(&mut self, name: Option<&String>) -> u32 {
        let known = name.and_then(|name| self.by_name.get(name).copied());
        let zone = known.unwrap_or_else(|| {
            let fresh = self.free.pop().unwrap_or_else(|| {
                self.zones.push(Zone::default());
                (self.zones.len() - 1) as u32
            });
            if let Some(name) = name {
                self.by_name.insert(name.clone(), fresh);
            }
            fresh
        });
        self.zones[zone as usize].members += 1;
        zone
    }

    /// Takes out a member, which is no longer able.
    pub(crate) fn leave(&mut self, zone: u32, name: Option<&String>) {
        let members = &mut self.zones[zone as usize].members;
        *members -= 1;
        if *members == 0 {
            self.free.push(zone);
            if let Some(name) = name {
                self.by_name.remove(name);
            }
        }
    }

    /// A member has come to hold tokens, or holds none any more.
    pub(crate) fn set_able(&mut self, zone: u32, able: bool) {
        let count = &mut self.zones[zone as usize].able;
        if able {
            if *count == self.larger_than.len() {
                self.larger_than.push(0);
            }
            self.larger_than[*count] += 1;
            *count += 1;
        } else {
            *count -= 1;
            self.larger_than[*count] -= 1;
            if self.larger_than.last() == Some(&0) {
                self.larger_than.pop();
            }
        }
    }

    /// For each `k` the zones with more than `k` able members, as long as there are any.
    pub(crate) fn larger_than(&self) -> &[usize] {
        &self.larger_than
    }

    /// How many zones have had a number, those that are free again included.
    pub(crate) fn numbers(&self) -> usize {
        self.zones.len()
    }

    /// How many members hold tokens.
    pub(crate) fn able(&self) -> usize {
        self.larger_than.iter().sum()
    }
}
