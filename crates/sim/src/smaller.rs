//! What a replayed run leaves out of the plan that its seed makes. Knows nothing of plans.

use std::fmt;

/// Some of the planned faults, by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kept(u128);

impl Kept {
    /// Faults have numbers below this.
    pub const NUMBERS: usize = 128;
    /// All faults.
    pub const ALL: Self = Self(u128::MAX);
    /// No faults.
    pub const NONE: Self = Self(0);

    /// Whether a fault is kept.
    #[must_use]
    pub fn holds(self, number: usize) -> bool {
        number < Self::NUMBERS && self.0 >> number & 1 == 1
    }

    /// These and another one.
    #[must_use]
    pub fn with(self, number: usize) -> Self {
        if number < Self::NUMBERS {
            Self(self.0 | 1 << number)
        } else {
            self
        }
    }

    /// These without one.
    #[must_use]
    pub fn without(self, number: usize) -> Self {
        if number < Self::NUMBERS {
            Self(self.0 & !(1 << number))
        } else {
            self
        }
    }
}

/// What is left out of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Smaller {
    /// The planned faults that happen; all by default.
    pub faults: Option<Kept>,
    /// Faults end at this time at the latest.
    pub until_us: Option<u64>,
    /// So many nodes, clients and keys at most.
    pub nodes: Option<usize>,
    /// See `nodes`.
    pub clients: Option<usize>,
    /// See `nodes`.
    pub keys: Option<u64>,
    /// The limits of a server instead of drawn ones.
    pub has_usual_limits: bool,
}

impl Smaller {
    /// Whether a planned fault happens.
    #[must_use]
    pub fn holds(&self, number: usize) -> bool {
        self.faults.is_none_or(|kept| kept.holds(number))
    }
}

impl fmt::Display for Smaller {
    /// As the flags that ask for it, each after a space.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(kept) = self.faults {
            let numbers = (0..Kept::NUMBERS).filter(|number| kept.holds(*number));
            let numbers: Vec<String> = numbers.map(|number| number.to_string()).collect();
            let none = numbers.is_empty().then(|| "none".to_owned());
            write!(f, " --faults {}", none.unwrap_or_else(|| numbers.join(",")))?;
        }
        match self.until_us {
            Some(us) if us % 1_000 == 0 => write!(f, " --until {}ms", us / 1_000)?,
            Some(us) => write!(f, " --until {us}us")?,
            None => {}
        }
        if let Some(nodes) = self.nodes {
            write!(f, " --nodes {nodes}")?;
        }
        if let Some(clients) = self.clients {
            write!(f, " --clients {clients}")?;
        }
        if let Some(keys) = self.keys {
            write!(f, " --keys {keys}")?;
        }
        if self.has_usual_limits {
            f.write_str(" --usual-limits")?;
        }
        Ok(())
    }
}
