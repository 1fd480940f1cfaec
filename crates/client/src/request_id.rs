//! Request ids: the same id makes a repeated write take effect once.

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::str::FromStr;
use std::time::{SystemTime, UNIX_EPOCH};

/// A request id in the form of a UUID version 7: 48 bits of milliseconds, then random bits, so
/// that ids made later sort later and two clients never make the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(u128);

impl RequestId {
    /// A new id, from the wall clock and the process's random keys.
    #[must_use]
    pub fn random() -> Self {
        let ms = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |passed| {
                u64::try_from(passed.as_millis()).unwrap_or(u64::MAX)
            });
        // RandomState is keyed anew for every instance from the system's random source.
        let high = RandomState::new().hash_one(ms);
        let low = RandomState::new().hash_one(high);
        Self::from_parts(ms, u128::from(high) << 64 | u128::from(low))
    }

    /// The id of this time and these random bits; the bits that a UUID fixes are overwritten.
    #[must_use]
    pub fn from_parts(ms: u64, random: u128) -> Self {
        let time = u128::from(ms & 0xffff_ffff_ffff) << 80;
        let random = random & 0x0fff_3fff_ffff_ffff_ffff;
        Self(time | 0x7 << 76 | 0b10 << 62 | random)
    }

    /// All 128 bits.
    #[must_use]
    pub fn as_u128(self) -> u128 {
        self.0
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hex = format!("{:032x}", self.0);
        let (a, rest) = hex.split_at(8);
        let (b, rest) = rest.split_at(4);
        let (c, rest) = rest.split_at(4);
        let (d, e) = rest.split_at(4);
        write!(f, "{a}-{b}-{c}-{d}-{e}")
    }
}

/// The text was no UUID.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected a UUID such as 018f3c1e-8e4a-7c3b-9d2f-0123456789ab")]
pub struct ParseRequestIdError;

impl FromStr for RequestId {
    type Err = ParseRequestIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let lengths: Vec<usize> = text.split('-').map(str::len).collect();
        if lengths != [8, 4, 4, 4, 12] {
            return Err(ParseRequestIdError);
        }
        let hex: String = text.split('-').collect();
        u128::from_str_radix(&hex, 16)
            .map(Self)
            .map_err(|_| ParseRequestIdError)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail by panic")]
    use super::*;

    #[test]
    fn an_id_is_a_uuid_of_version_7() {
        let id = RequestId::from_parts(0x0123_4567_89ab, u128::MAX);
        assert_eq!(id.to_string(), "01234567-89ab-7fff-bfff-ffffffffffff");
        let zero = RequestId::from_parts(0x0123_4567_89ab, 0);
        assert_eq!(zero.to_string(), "01234567-89ab-7000-8000-000000000000");
        assert_eq!(id.to_string().parse::<RequestId>().unwrap(), id);
        assert!("01234567".parse::<RequestId>().is_err());
        assert!(
            "zzzzzzzz-89ab-7fff-bfff-ffffffffffff"
                .parse::<RequestId>()
                .is_err()
        );
    }

    #[test]
    fn ids_differ() {
        let ids: std::collections::BTreeSet<_> = (0..1000).map(|_| RequestId::random()).collect();
        assert_eq!(ids.len(), 1000);
    }
}
