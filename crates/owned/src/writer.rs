//! The task that writes: it takes what has come together, makes one durable object of it, and only
//! then answers. Knows nothing of what writes do.

use std::sync::Arc;
use std::time::{Duration, Instant};

use slatedb::config::{FlushOptions, FlushType};
use slatedb::{Db, DbStatus};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;

use crate::counts::Counts;
use crate::error::{Ended, WriteError};
use crate::group;
use crate::owned::{Write, Written};
use crate::remembering::Remembering;
use crate::settings::OwnedSettings;

pub(crate) type Answer = oneshot::Sender<Result<Written, WriteError>>;

/// What the writer is told.
pub(crate) enum Command {
    Write(Write, Answer),
    /// Finish what came before, and end.
    Close,
}

pub(crate) struct Writer {
    pub(crate) db: Db,
    pub(crate) remembering: Remembering,
    pub(crate) settings: OwnedSettings,
    pub(crate) commands: mpsc::Receiver<Command>,
    pub(crate) ended: watch::Sender<Option<Ended>>,
    pub(crate) tables: Tables,
    pub(crate) counts: Arc<Counts>,
}

/// Tables that are written of the log, besides those that the database writes when they are full:
/// by itself it lets a successor read thousands of objects again.
#[derive(Default)]
pub(crate) struct Tables {
    /// Objects of the log since the last one was begun.
    objects: u64,
    /// The last one.
    begun: Option<JoinHandle<()>>,
}

impl Tables {
    /// An object of the log is there. One table is written at a time; writes go on meanwhile.
    fn log_grew(&mut self, db: &Db, objects_max: u64) {
        self.objects += 1;
        let is_busy = self
            .begun
            .as_ref()
            .is_some_and(|begun| !begun.is_finished());
        if self.objects < objects_max || is_busy {
            return;
        }
        self.objects = 0;
        let db = db.clone();
        self.begun = Some(tokio::spawn(async move {
            let options = FlushOptions {
                flush_type: FlushType::MemTable,
            };
            if let Err(error) = Box::pin(db.flush_with_options(options)).await {
                // The database ends by itself if that is of importance.
                tracing::debug!(%error, "a table of a partition was not written");
            }
        }));
    }
}

/// Writes that go together.
#[derive(Default)]
struct Gathered {
    writes: Vec<(Write, Answer)>,
    bytes: usize,
    /// Whether the end was asked for behind them.
    close: bool,
}

impl Writer {
    /// Works until it is told to close, nobody can tell it anything any more, or the database ends.
    pub(crate) async fn run(mut self) {
        let mut status = self.db.subscribe();
        let ended = loop {
            let first = tokio::select! {
                biased;
                first = self.commands.recv() => first,
                ended = database_ended(&mut status, &self.db) => break ended,
            };
            let gathered = match first {
                None | Some(Command::Close) => break Ended::Closed,
                Some(Command::Write(write, answer)) => self.gather(write, answer).await,
            };
            let close = gathered.close;
            if let Err(ended) = self.carry_out(gathered.writes).await {
                break ended;
            }
            if close {
                break Ended::Closed;
            }
        };
        self.end(ended).await;
    }

    async fn gather(&mut self, write: Write, answer: Answer) -> Gathered {
        let mut gathered = Gathered::default();
        gathered.push(write, answer);
        if self.settings.gather_for > Duration::ZERO {
            tokio::time::sleep(self.settings.gather_for).await;
        }
        while gathered.writes.len() < self.settings.group_writes_max
            && gathered.bytes < self.settings.group_bytes_max
        {
            match self.commands.try_recv() {
                Ok(Command::Write(write, answer)) => gathered.push(write, answer),
                Ok(Command::Close) => {
                    gathered.close = true;
                    break;
                }
                Err(_) => break,
            }
        }
        gathered
    }

    /// Makes a group durable and answers it; or says why it could not, and answers that.
    async fn carry_out(&mut self, writes: Vec<(Write, Answer)>) -> Result<(), Ended> {
        let asked: Vec<&Write> = writes.iter().map(|(write, _)| write).collect();
        let staged = group::stage(&self.db, &mut self.remembering, &asked).await;
        let staged = match staged {
            Ok(staged) => staged,
            Err(ended) => {
                self.ended.send_replace(Some(ended.clone()));
                refuse(writes, &WriteError::NotApplied(ended.clone()));
                return Err(ended);
            }
        };
        let wrote = staged.batch.is_some();
        if let Some(batch) = staged.batch
            && let Err(error) = self.make_durable(batch).await
        {
            let ended = Ended::of(error);
            self.ended.send_replace(Some(ended.clone()));
            refuse(writes, &WriteError::OutcomeUnknown(ended.clone()));
            return Err(ended);
        }
        if wrote {
            self.tables
                .log_grew(&self.db, self.settings.log_objects_max);
        }
        for ((_, answer), result) in writes.into_iter().zip(staged.answers) {
            // Whoever does not wait any more asks again with the same id.
            let _ = answer.send(result);
        }
        Ok(())
    }

    async fn make_durable(&self, batch: slatedb::WriteBatch) -> Result<(), slatedb::Error> {
        let begun = Instant::now();
        let handle = Box::pin(self.db.write(batch)).await?;
        Box::pin(self.db.flush()).await?;
        handle.await_durable().await?;
        self.counts.flushed(begun.elapsed());
        Ok(())
    }

    async fn end(mut self, ended: Ended) {
        self.ended.send_replace(Some(ended.clone()));
        self.commands.close();
        while let Some(command) = self.commands.recv().await {
            if let Command::Write(write, answer) = command {
                refuse(
                    vec![(write, answer)],
                    &WriteError::NotApplied(ended.clone()),
                );
            }
        }
        if let Err(error) = Box::pin(self.db.close()).await {
            tracing::debug!(%error, "the database of a partition did not close cleanly");
        }
    }
}

impl Gathered {
    fn push(&mut self, write: Write, answer: Answer) {
        self.bytes += write.mutation.len();
        self.writes.push((write, answer));
    }
}

fn refuse(writes: Vec<(Write, Answer)>, error: &WriteError) {
    for (_, answer) in writes {
        let _ = answer.send(Err(error.clone()));
    }
}

/// Waits until the database has closed by itself; a read then says why.
async fn database_ended(status: &mut watch::Receiver<DbStatus>, db: &Db) -> Ended {
    let _ = status
        .wait_for(|status| status.close_reason.is_some())
        .await;
    match Box::pin(db.get(crate::layout::HEAD_KEY)).await {
        Err(error) => Ended::of(error),
        Ok(_) => Ended::Closed,
    }
}
