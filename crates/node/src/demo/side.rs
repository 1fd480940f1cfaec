//! The tables beside that of the flights: one for each other strategy, under traffic of its own,
//! so that the same kill shows what each strategy makes of it. Knows nothing of nodes and how they
//! end.

use std::time::Duration;

use tablestore_client::{Client, Row, RowKey, TableDefinition};
use tablestore_placement::{ACTIVE, PARTITION};
use tablestore_verify::pauses::{Gap, gap};
use tablestore_verify::{Endpoint, Findings, Ledger, Load, Traffic};

use crate::terminal::Failure;

/// Rows that one writer owns.
const ROWS_A_WRITER: usize = 64;
const WRITERS: usize = 8;
const READERS: usize = 2;
/// So gentle that the flights do not notice it.
const PACE: Duration = Duration::from_millis(10);
/// Longer than for the flights: an attempt that is left may be carried out a second time, and the
/// owner of a partition needs a while.
const ATTEMPT_TIMEOUT: Duration = Duration::from_millis(200);
/// Acknowledgements older than this before a kill are forgotten.
const ACKS_KEPT_US: u64 = 1_000_000;

/// What there is to know of a strategy.
#[derive(Debug)]
struct Kind {
    strategy: &'static str,
    table: &'static str,
    /// Copies of its rows converge.
    converges: bool,
}

const KINDS: [Kind; 2] = [
    Kind {
        strategy: ACTIVE,
        table: "gates",
        converges: true,
    },
    Kind {
        strategy: PARTITION,
        table: "bookings",
        converges: false,
    },
];

/// What is promised for rows of a strategy, and what the demo checks of it.
pub(crate) fn promise(strategy: &str) -> &'static str {
    match strategy {
        ACTIVE => {
            "any replica takes writes, the last one wins; a strong read sees what was acknowledged"
        }
        PARTITION => {
            "one owner, rows in shared storage; linearizable, nothing acknowledged is lost"
        }
        _ => "one primary, copies in sync; linearizable, nothing acknowledged is lost",
    }
}

/// What one table showed in the end.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Shown {
    pub(crate) strategy: &'static str,
    pub(crate) table: &'static str,
    pub(crate) acknowledged: u64,
    pub(crate) reads: u64,
    pub(crate) findings: Findings,
    /// One a kill.
    pub(crate) gaps: Vec<Gap>,
}

#[derive(Debug)]
struct Side {
    kind: &'static Kind,
    endpoint: Endpoint,
    traffic: Traffic,
    /// By the clock of the traffic.
    kill_us: u64,
    gaps: Vec<Gap>,
}

/// All of them; none if the flights are to be alone.
#[derive(Debug, Default)]
pub(crate) struct Sides(Vec<Side>);

impl Sides {
    /// Makes the tables.
    pub(crate) async fn create(
        client: &Client,
        copies: u32,
        partitions: u32,
    ) -> Result<(), Failure> {
        for kind in &KINDS {
            let mut definition = TableDefinition::new("id", "string").partitions(partitions);
            definition.strategy = Some(kind.strategy.to_owned());
            if kind.strategy == ACTIVE {
                definition = definition.replicas(copies);
            }
            client.create_table(kind.table, &definition).await?;
        }
        Ok(())
    }

    /// Lets writers and readers of tables that are there run.
    pub(crate) fn begin(addresses: &[String]) -> Result<Self, Failure> {
        let begin = |kind: &'static Kind| {
            let endpoint = Endpoint::new(addresses, kind.table)
                .map_err(|error| Failure::failed(error.to_string()))?;
            let rows = WRITERS * ROWS_A_WRITER;
            let keys = (0..rows).map(|number| RowKey::new(format!("k{number}")));
            let targets = keys.map(|key| endpoint.target(&key, Row::new())).collect();
            let ledger = Ledger::absent(rows);
            let ledger = match kind.converges {
                true => ledger.converging(),
                false => ledger,
            };
            let load = Load {
                writers: WRITERS,
                readers: READERS,
                pace: PACE,
                attempt_timeout: ATTEMPT_TIMEOUT,
            };
            Ok(Side {
                kind,
                traffic: Traffic::start(endpoint.clone(), targets, ledger, load),
                endpoint,
                kill_us: 0,
                gaps: Vec::new(),
            })
        };
        let sides: Result<Vec<Side>, Failure> = KINDS.iter().map(begin).collect();
        Ok(Self(sides?))
    }

    pub(crate) fn send_home(&self) {
        self.0.iter().for_each(|side| side.traffic.send_home());
    }

    /// A node is killed at this moment.
    pub(crate) fn killed_now(&mut self) {
        for side in &mut self.0 {
            side.kill_us = side.traffic.now_us();
            let forget = side.kill_us.saturating_sub(ACKS_KEPT_US);
            side.traffic.forget_acks_before(forget);
        }
    }

    /// How long writes to each table stood still after the kill, by table; `None` while some
    /// writer has no acknowledgement again.
    pub(crate) fn gaps(&self) -> Option<Vec<(&'static str, Gap)>> {
        let gap = |side: &Side| Some((side.kind.table, gap(&side.traffic.acks(), side.kill_us)?));
        self.0.iter().map(gap).collect()
    }

    /// Takes down what a kill did to each.
    pub(crate) fn keep(&mut self, gaps: &[(&'static str, Gap)]) {
        for (side, (_, gap)) in self.0.iter_mut().zip(gaps) {
            side.gaps.push(*gap);
        }
    }

    /// An answer that no correct request can get.
    pub(crate) fn refused(&self) -> Option<String> {
        let refused = |side: &Side| {
            let why = side.traffic.refused()?;
            Some(format!("{}: {why}", side.kind.table))
        };
        self.0.iter().find_map(refused)
    }

    /// Stops the traffic and reads all rows back.
    pub(crate) async fn end(self, within: Duration) -> Result<Vec<Shown>, Failure> {
        let mut all = Vec::with_capacity(self.0.len());
        for mut side in self.0 {
            side.traffic.stop(within).await;
            if let Some(refused) = side.traffic.refused() {
                return Err(Failure::failed(format!("{}: {refused}", side.kind.table)));
            }
            let traffic = &side.traffic;
            let mut findings = Findings::default();
            findings.wrong_reads(traffic);
            let ledger = traffic.ledger();
            let read = findings.targets(&side.endpoint, traffic.targets(), &ledger, within);
            read.await
                .map_err(|error| Failure::failed(error.to_string()))?;
            all.push(Shown {
                strategy: side.kind.strategy,
                table: side.kind.table,
                acknowledged: traffic.acknowledged(),
                reads: traffic.reads(),
                findings,
                gaps: side.gaps,
            });
        }
        Ok(all)
    }
}
