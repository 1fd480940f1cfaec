//! A row as replicas of an active table keep it, and how two states of it become one: for every
//! attribute the newest version stays. Knows nothing of who sends what, and of bytes on a wire.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::clock::Version;

/// The clock up to which all current replicas proved equal: what is at or below it arrives too
/// late, and what was deleted there may be forgotten.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Floor(pub u64);

impl Floor {
    /// Whether the version is at or below the floor.
    #[must_use]
    pub fn covers(self, version: Version) -> bool {
        version.wall_ms <= self.0
    }
}

/// The last DELETE or PUT of a row: hides every attribute of an older version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mark {
    /// Of the DELETE or PUT.
    pub version: Version,
    /// It was a DELETE, which hides its own version too.
    pub is_delete: bool,
}

impl Mark {
    fn hides(&self, version: Version) -> bool {
        version < self.version || (self.is_delete && version == self.version)
    }
}

/// An attribute's last write.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cell {
    /// Of that write.
    pub version: Version,
    /// Nothing is a tombstone: the attribute was removed.
    pub value: Option<Bytes>,
}

/// A row or a change of one: both are the same thing, as a change is merged into a row. Never
/// holds an attribute that its mark hides.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Row {
    mark: Option<Mark>,
    attributes: BTreeMap<Bytes, Cell>,
}

impl Row {
    /// From parts in any state; what the mark hides is left out.
    pub fn new(mark: Option<Mark>, attributes: impl IntoIterator<Item = (Bytes, Cell)>) -> Self {
        let mut row = Self::default();
        row.merge_mark(mark);
        for (name, cell) in attributes {
            row.merge_cell(name, cell);
        }
        row
    }

    /// A PATCH: attributes that are set, and with nothing as value such that are removed.
    pub fn patch(
        version: Version,
        attributes: impl IntoIterator<Item = (Bytes, Option<Bytes>)>,
    ) -> Self {
        let cell = |(name, value)| (name, Cell { version, value });
        Self::new(None, attributes.into_iter().map(cell))
    }

    /// A PUT: the whole row becomes these attributes.
    pub fn put(version: Version, attributes: impl IntoIterator<Item = (Bytes, Bytes)>) -> Self {
        let mark = Mark {
            version,
            is_delete: false,
        };
        let cell = |(name, value)| {
            let value = Some(value);
            (name, Cell { version, value })
        };
        Self::new(Some(mark), attributes.into_iter().map(cell))
    }

    /// A DELETE.
    #[must_use]
    pub fn delete(version: Version) -> Self {
        let is_delete = true;
        Self::new(Some(Mark { version, is_delete }), [])
    }

    /// The last DELETE or PUT, if it is known.
    #[must_use]
    pub fn mark(&self) -> Option<Mark> {
        self.mark
    }

    /// All attributes by name, tombstones among them.
    #[must_use]
    pub fn attributes(&self) -> &BTreeMap<Bytes, Cell> {
        &self.attributes
    }

    /// The attributes that a reader sees; nothing if the row does not exist. A row exists while it
    /// has an attribute, and after a PUT also without any.
    #[must_use]
    pub fn visible(&self) -> Option<BTreeMap<&Bytes, &Bytes>> {
        let values = self.attributes.iter();
        let values: BTreeMap<_, _> = values
            .filter_map(|(name, cell)| Some((name, cell.value.as_ref()?)))
            .collect();
        let is_put = self.mark.is_some_and(|mark| !mark.is_delete);
        (is_put || !values.is_empty()).then_some(values)
    }

    /// Whether nothing at all is known, not even a deletion.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.mark.is_none() && self.attributes.is_empty()
    }

    /// Every version in it.
    pub fn versions(&self) -> impl Iterator<Item = Version> + '_ {
        let mark = self.mark.iter().map(|mark| mark.version);
        mark.chain(self.attributes.values().map(|cell| cell.version))
    }

    /// The greatest version in it.
    #[must_use]
    pub fn newest(&self) -> Option<Version> {
        self.versions().max()
    }

    /// What both know together. It does not matter in which order, grouping or how often states
    /// are merged.
    pub fn merge(&mut self, other: &Self) {
        self.merge_mark(other.mark);
        for (name, cell) in &other.attributes {
            self.merge_cell(name.clone(), cell.clone());
        }
    }

    /// Whether merging the other would change nothing.
    #[must_use]
    pub fn includes(&self, other: &Self) -> bool {
        let has_mark = other.mark <= self.mark;
        let has_cell = |(name, cell): (&Bytes, &Cell)| {
            self.hides(cell.version) || self.attributes.get(name) >= Some(cell)
        };
        has_mark && other.attributes.iter().all(has_cell)
    }

    /// Whether every part of the change is here, in that very version.
    #[must_use]
    pub fn has_exactly(&self, change: &Self) -> bool {
        let has_mark = change.mark.is_none() || change.mark == self.mark;
        let has_cell = |(name, cell): (&Bytes, &Cell)| self.attributes.get(name) == Some(cell);
        has_mark && change.attributes.iter().all(has_cell)
    }

    /// Without the deletions that the floor covers: nothing older can arrive any more that they
    /// would have to hide.
    #[must_use]
    pub fn collected(&self, floor: Floor) -> Self {
        let is_garbage = |mark: &Mark| mark.is_delete && floor.covers(mark.version);
        let kept = |cell: &Cell| cell.value.is_some() || !floor.covers(cell.version);
        self.filtered(|mark| !is_garbage(mark), kept)
    }

    /// Without what the floor covers, except what `held` has in that very version.
    #[must_use]
    pub fn above(&self, floor: Floor, held: &Self) -> Self {
        let mut kept = self.filtered(
            |mark| !floor.covers(mark.version) || held.mark == Some(*mark),
            |_| true,
        );
        kept.attributes.retain(|name, cell| {
            !floor.covers(cell.version) || held.attributes.get(name) == Some(cell)
        });
        kept
    }

    /// About how many bytes it takes in memory and on the wire.
    #[must_use]
    pub fn size(&self) -> usize {
        let cells = self.attributes.iter();
        let cells = cells.map(|(name, cell)| {
            CELL_OVERHEAD + name.len() + cell.value.as_ref().map_or(0, Bytes::len)
        });
        CELL_OVERHEAD + cells.sum::<usize>()
    }

    fn filtered(
        &self,
        keeps_mark: impl Fn(&Mark) -> bool,
        keeps_cell: impl Fn(&Cell) -> bool,
    ) -> Self {
        let attributes = self.attributes.iter();
        let attributes = attributes.filter(|(_, cell)| keeps_cell(cell));
        Self {
            mark: self.mark.filter(keeps_mark),
            attributes: attributes
                .map(|(name, cell)| (name.clone(), cell.clone()))
                .collect(),
        }
    }

    fn hides(&self, version: Version) -> bool {
        self.mark.is_some_and(|mark| mark.hides(version))
    }

    fn merge_mark(&mut self, mark: Option<Mark>) {
        if mark > self.mark {
            self.mark = mark;
            let hides = |version| mark.is_some_and(|mark| mark.hides(version));
            self.attributes.retain(|_, cell| !hides(cell.version));
        }
    }

    fn merge_cell(&mut self, name: Bytes, cell: Cell) {
        if self.hides(cell.version) {
            return;
        }
        let held = self.attributes.entry(name).or_insert_with(|| cell.clone());
        if cell > *held {
            *held = cell;
        }
    }
}

/// A version and lengths, rounded up.
const CELL_OVERHEAD: usize = 24;
