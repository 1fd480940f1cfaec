//! Stating the end of a journal, so that damage to its last groups is told from a torn write. Knows
//! nothing of what the groups say.

use super::JournalWriter;
use crate::journal::JournalFailed;

impl JournalWriter {
    /// Writes one group more, which changes nothing: what stands before it is proven to have been
    /// durable. The last group of a journal may be torn by a crash; without this, damage to it
    /// cannot be told from that, and what it acknowledged would be lost without a word.
    ///
    /// # Errors
    /// As [`commit`](Self::commit).
    pub fn state_end(&mut self) -> Result<(), JournalFailed> {
        self.commit()?;
        let first = {
            let book = self.book.lock();
            let first = book.partitions.iter().next();
            first.map(|(partition, log)| (*partition, log.meta.clone()))
        };
        let Some((partition, meta)) = first else {
            return Ok(());
        };
        self.push_meta(partition, &meta);
        self.commit()
    }
}
