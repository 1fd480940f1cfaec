//! The course of the demo: nodes up, data in, traffic on, kills one by one, checks.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use tablestore_client::{Client, ClientSettings, TableDefinition};
use tablestore_verify::pauses::{Gap, first_new_epoch_us, gap, ms};
use tablestore_verify::{Endpoint, Findings, Key, Ledger, Load, Loaded, Traffic};

use super::board::Board;
use super::choice::{Seen, Victim, next_victim};
use super::nodes::Nodes;
use super::promoted::{self, Lost};
use super::report::{Kill, Report, phases};
use super::rows::{self, FLIGHTS};
use super::side::Sides;
use super::{DemoArguments, KillKind};
use crate::loading::load::Loader;
use crate::loading::source::Numbered;
use crate::terminal::Failure;

/// Rows that one writer owns, so that every writer meets every node's partitions.
const ROWS_A_WRITER: usize = 64;
/// A node that does not answer after this has failed to start.
const START_WITHIN: Duration = Duration::from_secs(30);
/// All copies are complete again within this, or the demo gives up.
const WHOLE_WITHIN: Duration = Duration::from_secs(120);
/// Every writer has an acknowledgement again within this, or the demo gives up.
const GAP_WITHIN: Duration = Duration::from_secs(60);
/// Between two looks at the cluster.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Quiet time between the cluster being whole and the next kill.
const SETTLE: Duration = Duration::from_millis(1000);
/// Acknowledgements older than this before a kill are forgotten.
const ACKS_KEPT_US: u64 = 1_000_000;
/// Decisions looked through after a kill.
const DECISIONS: usize = 50;
/// Batches under way while loading.
const LOAD_CONCURRENCY: usize = 4;
/// Partitions of the small table.
const AIRPORT_PARTITIONS: u32 = 8;

/// How long writes to the other tables stood still.
type Beside = Vec<(&'static str, Gap)>;

/// Everything that the demo holds.
pub(crate) struct Stage<'a> {
    arguments: DemoArguments,
    board: &'a Board,
    client: Client,
    loaded: Vec<Loaded>,
    owned: BTreeMap<String, Key>,
    traffic: Option<Traffic>,
    sides: Sides,
    traffic_began: Instant,
    kills: Vec<Kill>,
    began: Instant,
    /// Last, so that traffic ends before the nodes do.
    nodes: Nodes,
}

impl<'a> Stage<'a> {
    /// Starts all nodes and waits until each of them is a member.
    pub(crate) async fn set(
        arguments: DemoArguments,
        board: &'a Board,
        directory: PathBuf,
    ) -> Result<Self, Failure> {
        let count = usize::from(arguments.nodes);
        let nodes = Nodes::prepare(directory.clone(), count)
            .map_err(|error| Failure::failed(format!("{}: {error}", directory.display())))?;
        let settings = ClientSettings::default().deadline(Duration::from_secs(30));
        let client = Client::with_settings(&nodes.authorities(), settings)
            .map_err(|error| Failure::failed(error.to_string()))?;
        let began = Instant::now();
        let mut stage = Self {
            arguments,
            board,
            client,
            loaded: Vec::new(),
            owned: BTreeMap::new(),
            traffic: None,
            sides: Sides::default(),
            traffic_began: began,
            kills: Vec::new(),
            began,
            nodes,
        };
        let shown = stage.nodes.directory().display().to_string();
        board.stage(format!("starting {count} nodes in {shown}"));
        for index in 0..count {
            stage.nodes.start(index)?;
            stage.wait_for_members(index + 1).await?;
        }
        Ok(stage)
    }

    /// Makes the tables and loads the data.
    pub(crate) async fn load(&mut self) -> Result<(), Failure> {
        let copies = u32::try_from(self.arguments.copies()).unwrap_or(1);
        let broken = |error: String| Failure::failed(format!("the data in the binary: {error}"));
        let tables = [
            (AIRPORT_PARTITIONS, rows::airports().map_err(broken)?),
            (self.arguments.partitions, rows::flights().map_err(broken)?),
        ];
        for (partitions, loaded) in tables {
            let table = loaded.table.as_str();
            let mut definition = TableDefinition::new(&loaded.partition_key, "string")
                .replicas(copies)
                .min_in_sync(copies.min(2))
                .partitions(partitions);
            if let Some(sort_key) = &loaded.sort_key {
                definition = definition.sort_key(sort_key, "string");
            }
            self.client.create_table(table, &definition).await?;
            self.board
                .stage(format!("loading {} {table}", loaded.rows.len()));
            let mut loader = Loader::new(self.client.clone(), table, LOAD_CONCURRENCY);
            for (line, row) in (1..).zip(&loaded.rows) {
                loader
                    .push(Numbered {
                        line,
                        row: row.clone(),
                    })
                    .await?;
            }
            loader.finish().await?;
            if let Some(rejected) = loader.take_rejected().first() {
                let why = format!("{table}: a row was refused: {}", rejected.reason);
                return Err(Failure::failed(why));
            }
            self.loaded.push(loaded);
        }
        if !self.arguments.alone {
            self.board.stage("making a table for each other strategy");
            Sides::create(&self.client, copies, self.arguments.partitions).await?;
        }
        self.wait_until_whole("all copies of the loaded rows")
            .await?;
        Ok(())
    }

    /// Lets writers and readers run.
    pub(crate) fn begin_traffic(&mut self) -> Result<(), Failure> {
        let loaded = self
            .loaded
            .last()
            .ok_or_else(|| Failure::failed("no data"))?;
        let addresses = self.nodes.authorities();
        let endpoint = Endpoint::new(&addresses, FLIGHTS)
            .map_err(|error| Failure::failed(error.to_string()))?;
        let writers = usize::from(self.arguments.writers);
        let (owned, targets) = rows::targets(&endpoint, loaded, writers * ROWS_A_WRITER);
        self.owned = owned;
        let load = Load {
            writers,
            readers: (writers / 4).max(1),
            pace: Duration::from_millis(u64::from(self.arguments.pace)),
            attempt_timeout: Duration::from_millis(u64::from(self.arguments.attempt_timeout_ms)),
        };
        let ledger = Ledger::loaded(targets.len());
        if !self.arguments.alone {
            self.sides = Sides::begin(&addresses)?;
        }
        self.traffic = Some(Traffic::start(endpoint, targets, ledger, load));
        self.traffic_began = Instant::now();
        Ok(())
    }

    /// One kill: waits until the cluster is whole, takes a node away, sees what writers saw,
    /// brings the node back.
    pub(crate) async fn kill_one(&mut self, number: usize) -> Result<(), Failure> {
        self.watch_until(self.traffic_began + self.arguments.not_before(number))
            .await?;
        let seen = self.wait_until_whole("all copies complete").await?;
        self.traffic()?.send_home();
        self.sides.send_home();
        self.watch_until(Instant::now() + SETTLE).await?;
        let seen = self.look().await.unwrap_or(seen);
        let victim = next_victim(&seen, number)
            .ok_or_else(|| Failure::failed("there is no controller to kill"))?;
        let index = self
            .nodes
            .position(&victim.name)
            .ok_or_else(|| Failure::failed(format!("{} is none of our nodes", victim.name)))?;
        let paused = self.arguments.kill_kind == KillKind::Stop;
        let what = if paused { "pausing" } else { "killing" };
        self.board.stage(format!("{what} {}", victim.name));
        let before = seen.epochs(FLIGHTS, &victim.name);
        let traffic = self.traffic()?;
        traffic.forget_acks_before(traffic.now_us().saturating_sub(ACKS_KEPT_US));
        let kill_us = traffic.now_us();
        self.sides.killed_now();
        let killed_at_us = promoted::wall_us()?;
        if paused {
            self.nodes.pause(index)?
        } else {
            self.nodes.kill(index)?
        }
        let down = Duration::from_millis(u64::from(self.arguments.down_ms));
        tokio::time::sleep(down).await;
        let (gap, beside) = self.wait_for_gap(kill_us, &victim).await?;
        self.sides.keep(&beside);
        let first_write_ms = first_new_epoch_us(&self.traffic()?.acks(), kill_us, &before).map(ms);
        let decisions = self.client.decisions(DECISIONS).await.unwrap_or_default();
        let about = |subject: &str| seen.name(subject) == victim.name;
        let lost = Lost {
            table: seen.table_id(FLIGHTS),
            epochs: before,
            killed_at_us,
        };
        let promoted = lost.promoted_us(&self.nodes.others(index)).await;
        let phases = phases(&decisions, about, killed_at_us, promoted);
        let Victim {
            name,
            controller,
            primaries,
        } = victim;
        let kill = Kill {
            victim: name,
            controller,
            primaries,
            gap,
            beside,
            phases,
            first_write_ms,
        };
        self.board.line(&kill.line(number + 1, paused));
        self.kills.push(kill);
        if paused {
            self.nodes.resume(index)?
        } else {
            self.nodes.start(index)?
        }
        Ok(())
    }

    /// Stops the traffic and checks everything.
    pub(crate) async fn end(mut self) -> Result<Report, Failure> {
        let seconds = Duration::from_secs(u64::from(self.arguments.seconds));
        self.watch_until(self.traffic_began + seconds).await?;
        self.wait_until_whole("all copies complete for the last time")
            .await?;
        self.watch_until(Instant::now() + SETTLE).await?;
        self.board
            .stage("checking every acknowledged write, every row and every copy");
        let mut traffic = self
            .traffic
            .take()
            .ok_or_else(|| Failure::failed("no traffic"))?;
        traffic.stop(WHOLE_WITHIN).await;
        if let Some(refused) = traffic.refused() {
            return Err(Failure::failed(refused));
        }
        let mut findings = Findings::default();
        findings.wrong_reads(&traffic);
        let ledger = traffic.ledger();
        let nobody = BTreeMap::new();
        for loaded in &self.loaded {
            let owned = if loaded.table == FLIGHTS {
                &self.owned
            } else {
                &nobody
            };
            findings.rows(&self.client, loaded, owned, &ledger).await?;
            findings.copies(&self.client, &loaded.table).await?;
        }
        Ok(Report {
            nodes: usize::from(self.arguments.nodes),
            seconds: self.began.elapsed().as_secs_f64(),
            loaded: self
                .loaded
                .iter()
                .map(|loaded| loaded.rows.len() as u64)
                .sum(),
            acknowledged: traffic.acknowledged(),
            reads: traffic.reads(),
            kills: self.kills.clone(),
            findings,
            beside: std::mem::take(&mut self.sides).end(WHOLE_WITHIN).await?,
        })
    }

    fn traffic(&self) -> Result<&Traffic, Failure> {
        self.traffic
            .as_ref()
            .ok_or_else(|| Failure::failed("no traffic"))
    }

    async fn look(&self) -> Result<Seen, Failure> {
        let cluster = self.client.cluster().await?;
        let mut partitions = Vec::with_capacity(self.loaded.len());
        for loaded in &self.loaded {
            let of_table = self.client.partitions(&loaded.table).await?;
            partitions.push((loaded.table.clone(), of_table));
        }
        Ok(Seen {
            cluster,
            partitions,
        })
    }

    async fn wait_for_members(&mut self, count: usize) -> Result<(), Failure> {
        let until = Instant::now() + START_WITHIN;
        loop {
            let missing = match self.client.cluster().await {
                Ok(cluster) => Seen {
                    cluster,
                    partitions: Vec::new(),
                }
                .missing(count, 0),
                Err(error) => Some(error.to_string()),
            };
            let Some(missing) = missing else {
                return Ok(());
            };
            self.check_processes()?;
            if Instant::now() >= until {
                let why = format!("node {count} did not start in {START_WITHIN:?}: {missing}");
                return Err(Failure::failed(why));
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    async fn wait_until_whole(&mut self, what: &str) -> Result<Seen, Failure> {
        let until = Instant::now() + WHOLE_WITHIN;
        let (nodes, copies) = (usize::from(self.arguments.nodes), self.arguments.copies());
        loop {
            let missing = match self.look().await {
                Ok(seen) => match seen.missing(nodes, copies).or(self.nodes.not_ready().await) {
                    None => return Ok(seen),
                    Some(missing) => missing,
                },
                Err(failure) => failure.message,
            };
            if Instant::now() >= until {
                let why = format!("{what}: not within {WHOLE_WITHIN:?}: {missing}");
                return Err(Failure::failed(why));
            }
            self.watch(&format!("waiting for {what} ({missing})"))?;
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    async fn wait_for_gap(
        &mut self,
        kill_us: u64,
        victim: &Victim,
    ) -> Result<(Gap, Beside), Failure> {
        let until = Instant::now() + GAP_WITHIN;
        loop {
            let seen = gap(&self.traffic()?.acks(), kill_us);
            if let Some(seen) = seen.zip(self.sides.gaps()) {
                return Ok(seen);
            }
            if Instant::now() >= until {
                let name = &victim.name;
                let why = format!(
                    "{GAP_WITHIN:?} after {name} was taken away, a writer has no acknowledgement"
                );
                return Err(Failure::failed(why));
            }
            self.watch("waiting for writes to go on")?;
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Shows the traffic until a time.
    async fn watch_until(&mut self, until: Instant) -> Result<(), Failure> {
        while let Some(left) = until.checked_duration_since(Instant::now()) {
            self.watch("writers and strong readers run")?;
            tokio::time::sleep(left.min(LOOK_EVERY)).await;
        }
        Ok(())
    }

    fn watch(&mut self, stage: &str) -> Result<(), Failure> {
        if let Some(traffic) = &self.traffic {
            self.board.traffic(stage, traffic);
            if let Some(refused) = traffic.refused().or_else(|| self.sides.refused()) {
                return Err(Failure::failed(refused));
            }
        }
        self.check_processes()
    }

    /// A node that ends without having been killed ends the demo.
    fn check_processes(&mut self) -> Result<(), Failure> {
        match self.nodes.ended_by_itself() {
            None => Ok(()),
            Some(how) => Err(Failure::failed(how)),
        }
    }
}
