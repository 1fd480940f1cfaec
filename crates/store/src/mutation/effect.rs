//! What became of the row that a mutation was about. Knows nothing of how it is applied.

/// What a mutation did.
///
/// The numbers are kept with the ids of requests and sent between nodes, so they stay; they are
/// compared with nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// The row was written or deleted.
    Done = 200,
    /// The row to delete was not there; the entry is applied.
    Absent = 404,
    /// The condition did not hold; nothing was changed.
    ConditionFailed = 412,
    /// The merged row would be larger than an item may be; nothing was changed.
    TooLarge = 413,
}

impl Effect {
    /// All that there are.
    pub const ALL: [Self; 4] = [
        Self::Done,
        Self::Absent,
        Self::ConditionFailed,
        Self::TooLarge,
    ];

    /// The number under which it is kept and sent.
    #[must_use]
    pub fn number(self) -> u16 {
        self as u16
    }

    /// The effect with that number; `None` for one that this version does not know.
    #[must_use]
    pub fn of_number(number: u16) -> Option<Self> {
        let mut all = Self::ALL.into_iter();
        all.find(|effect| effect.number() == number)
    }
}
