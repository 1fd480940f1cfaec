//! A server as the ring sees it: an id, a weight, a zone. Knows nothing about addresses.

use alloc::string::String;

/// The greatest weight: it bounds the tokens of one server.
pub const WEIGHT_MAX: u32 = 10_000;

/// A server of a ring.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Server<N> {
    /// Who it is.
    pub id: N,
    /// Its share in relation to the others; 0 keeps it a member that is given nothing.
    pub weight: u32,
    /// What fails together with it. Servers without a zone each count as a zone of their own.
    pub zone: Option<String>,
}

impl<N> Server<N> {
    /// A server of weight 1, without a zone.
    pub fn new(id: N) -> Self {
        Self {
            id,
            weight: 1,
            zone: None,
        }
    }

    /// The same server with another weight.
    #[must_use]
    pub fn weight(mut self, weight: u32) -> Self {
        self.weight = weight;
        self
    }

    /// The same server in a zone; an empty name means none.
    #[must_use]
    pub fn zone(mut self, zone: impl Into<String>) -> Self {
        let zone = zone.into();
        self.zone = (!zone.is_empty()).then_some(zone);
        self
    }
}
