//! What lies in the shared storage of one partition, and what each request does to it. The epoch of
//! its writer is claimed only as the very next one, and objects of its log are numbered and created
//! only where there is none. Knows nothing of time, of nodes and of what goes wrong on the way.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::content::{Batch, Content};

/// What the storage is asked.
#[derive(Clone, Debug)]
pub(crate) enum Ask {
    /// Which epoch has the last writer?
    Epoch,
    /// Where does the log end?
    End,
    /// Make me the next writer, if the last one has this epoch; whatever it has if none is given,
    /// which is a deliberate fault.
    Claim { successor_of: Option<u64> },
    /// Create an object of the log, if there is none with its number; a mark if it is empty.
    Create {
        number: u64,
        batch: Option<Arc<Batch>>,
    },
    /// What is there, up to this object?
    Load { until: u64 },
}

/// What the storage answers.
#[derive(Clone, Debug)]
pub(crate) enum Told {
    /// Nothing if there is no database.
    Epoch(Option<u64>),
    /// The first number that is free.
    End(u64),
    /// The epoch that was claimed; nothing if another one was there.
    Claimed(Option<u64>),
    /// Whether the object is there by this very request, now or at an earlier try.
    Created(bool),
    /// Nothing if it is not there any more as it was then.
    Loaded(Option<Box<Content>>),
}

#[derive(Clone, Debug)]
struct Object {
    /// The request that created it.
    by: u64,
    /// Nothing in a mark.
    batch: Option<Arc<Batch>>,
}

/// The database of one partition.
#[derive(Debug, Default)]
pub(crate) struct Database {
    /// Of the last writer; 0 while there is no database.
    epoch: u64,
    /// The request that claimed it.
    claimed_by: u64,
    /// The last number that there ever was.
    last: u64,
    /// Objects of the log that are there.
    objects: BTreeMap<u64, Object>,
    /// What those up to a number left.
    tables: Content,
    folded: u64,
}

impl Database {
    /// Carries a request out, at one moment. The requests are numbered, with one number for all
    /// tries; a storage that keeps that number with an object can tell whose the object is. Also
    /// says what is in the log from now on.
    pub(crate) fn carry_out(
        &mut self,
        request: u64,
        ask: &Ask,
        knows_own: bool,
    ) -> (Told, Option<Arc<Batch>>) {
        match ask {
            Ask::Epoch => {
                let epoch = (self.epoch > 0).then_some(self.epoch);
                (Told::Epoch(epoch), None)
            }
            Ask::End => (Told::End(self.last + 1), None),
            Ask::Claim { successor_of } => {
                let is_own = knows_own && self.claimed_by == request;
                if successor_of.is_none_or(|epoch| epoch == self.epoch) {
                    (self.epoch, self.claimed_by) = (self.epoch + 1, request);
                } else if !is_own {
                    return (Told::Claimed(None), None);
                }
                (Told::Claimed(Some(self.epoch)), None)
            }
            Ask::Create { number, batch } => self.create(request, *number, batch, knows_own),
            Ask::Load { until } => (Told::Loaded(self.load(*until).map(Box::new)), None),
        }
    }

    fn create(
        &mut self,
        by: u64,
        number: u64,
        batch: &Option<Arc<Batch>>,
        knows_own: bool,
    ) -> (Told, Option<Arc<Batch>>) {
        if let Some(there) = self.objects.get(&number) {
            return (Told::Created(knows_own && there.by == by), None);
        }
        // What is put where others have read past it is read by nobody.
        let is_read = number > self.last;
        self.last = self.last.max(number);
        let batch = batch.clone();
        let added = batch.clone().filter(|_| is_read);
        self.objects.insert(number, Object { by, batch });
        (Told::Created(true), added)
    }

    fn load(&self, until: u64) -> Option<Content> {
        (self.folded <= until).then(|| self.content_up_to(until))
    }

    fn content_up_to(&self, until: u64) -> Content {
        let mut content = self.tables.clone();
        for (number, object) in self.objects.range(self.folded + 1..) {
            if *number <= until
                && let Some(batch) = &object.batch
            {
                content.take_in(batch);
            }
        }
        content
    }

    /// All that is there.
    pub(crate) fn content(&self) -> Content {
        self.content_up_to(self.last.max(self.folded))
    }

    /// Of the last writer.
    pub(crate) fn epoch(&self) -> u64 {
        self.epoch
    }

    /// What is in the log goes into tables, and is deleted from the log. Marks stay for ever:
    /// deleting them as well is a deliberate fault.
    pub(crate) fn fold(&mut self, marks_too: bool) {
        self.tables = self.content();
        self.folded = self.last;
        let last = self.last;
        self.objects.retain(|number, object| {
            let is_mark = object.batch.is_none();
            *number == last || (is_mark && !marks_too)
        });
    }
}

#[cfg(test)]
mod tests {
    use super::super::content::Head;
    use super::*;

    fn batch(index: u64) -> Option<Arc<Batch>> {
        let head = Head { index, log_ms: 0 };
        Some(Arc::new(Batch {
            head,
            ..Batch::default()
        }))
    }

    fn create(database: &mut Database, request: u64, number: u64, index: u64) -> bool {
        let batch = batch(index);
        let ask = Ask::Create { number, batch };
        matches!(
            database.carry_out(request, &ask, true).0,
            Told::Created(true)
        )
    }

    fn claim(database: &mut Database, request: u64, epoch: u64, knows_own: bool) -> Option<u64> {
        let successor_of = Some(epoch);
        match database.carry_out(request, &Ask::Claim { successor_of }, knows_own) {
            (Told::Claimed(epoch), _) => epoch,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn only_the_very_next_epoch_is_claimed_and_by_one() {
        let mut database = Database::default();
        assert_eq!(claim(&mut database, 1, 0, true), Some(1));
        assert_eq!(claim(&mut database, 2, 0, true), None, "it was delayed");
        assert_eq!(claim(&mut database, 1, 0, true), Some(1), "the same again");
        assert_eq!(claim(&mut database, 1, 0, false), None, "nobody can tell");
        assert_eq!(claim(&mut database, 3, 1, true), Some(2));
    }

    #[test]
    fn an_object_is_created_once_and_known_to_whoever_created_it() {
        let mut database = Database::default();
        assert!(create(&mut database, 1, 1, 5));
        assert!(create(&mut database, 1, 1, 5), "the same again");
        assert!(!create(&mut database, 2, 1, 6));
        assert_eq!(database.content().head.index, 5);
    }

    #[test]
    fn a_former_owner_finds_the_mark_also_when_the_log_was_folded() {
        let mut database = Database::default();
        assert!(create(&mut database, 1, 1, 5));
        let mark = Ask::Create {
            number: 2,
            batch: None,
        };
        database.carry_out(2, &mark, true);
        assert!(create(&mut database, 3, 3, 7) && create(&mut database, 4, 4, 8));
        database.fold(false);
        assert!(!create(&mut database, 5, 2, 6), "the mark is there");
        assert_eq!(database.content().head.index, 8);
        let (told, _) = database.carry_out(6, &Ask::Load { until: 2 }, true);
        assert!(matches!(told, Told::Loaded(None)), "others went on");
        database.fold(true);
        assert!(create(&mut database, 7, 2, 6), "and now it is not");
        assert_eq!(database.content().head.index, 8, "nobody reads it");
    }
}
