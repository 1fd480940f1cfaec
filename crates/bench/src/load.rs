//! The loader: so many connections, each with one operation under way, for so long.
//!
//! The same for both systems. Knows nothing about what the figures mean.

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use tokio::task::LocalSet;

use crate::figures::percentile;
use crate::rows::Rows;
use crate::system::System;
use crate::wire::{Connection, Operation};

/// Connections while the rows are written for the first time.
const FILL_CONNECTIONS: usize = 256;
/// A system is warm after this; what is before does not count.
const WARM_UP: Duration = Duration::from_millis(500);

/// One window.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Sample {
    pub(crate) per_second: f64,
    /// Microseconds.
    pub(crate) p50: u32,
    pub(crate) p99: u32,
}

/// Writes every row once.
pub(crate) async fn fill(system: &System, rows: &Rows, keys: u64) -> Result<()> {
    let next = Rc::new(Cell::new(0));
    let lanes = connect(system, FILL_CONNECTIONS).await?;
    let tasks = LocalSet::new();
    let all: Vec<_> = lanes
        .into_iter()
        .map(|mut lane| {
            let (next, rows) = (Rc::clone(&next), rows.clone());
            tasks.spawn_local(async move {
                loop {
                    let number = next.get();
                    if number >= keys {
                        return Ok::<(), anyhow::Error>(());
                    }
                    next.set(number + 1);
                    let (key, value) = (rows.key(number), rows.value(number));
                    lane.perform(Operation::Write, &key, value).await?;
                }
            })
        })
        .collect();
    tasks
        .run_until(async {
            for task in all {
                task.await??;
            }
            Ok(())
        })
        .await
}

/// Loads the system for one window. Any error ends the run: figures with errors are none.
pub(crate) async fn window(
    system: &System,
    operation: Operation,
    connections: usize,
    length: Duration,
    rows: &Rows,
) -> Result<Sample> {
    let lanes = connect(system, connections).await?;
    let next = Rc::new(Cell::new(0));
    let begin = Instant::now() + WARM_UP;
    let end = begin + length;
    let tasks = LocalSet::new();
    let all: Vec<_> = lanes
        .into_iter()
        .map(|mut lane| {
            let (next, rows) = (Rc::clone(&next), rows.clone());
            tasks.spawn_local(async move {
                let mut latencies = Vec::new();
                loop {
                    let number = next.get();
                    next.set(number + 1);
                    let key = rows.key(number);
                    let began = Instant::now();
                    if began >= end {
                        return Ok::<Vec<u32>, anyhow::Error>(latencies);
                    }
                    lane.perform(operation, &key, rows.value(number)).await?;
                    let done = Instant::now();
                    if began >= begin && done <= end {
                        let micros = (done - began).as_micros();
                        latencies.push(u32::try_from(micros).unwrap_or(u32::MAX));
                    }
                }
            })
        })
        .collect();
    let mut latencies = tasks
        .run_until(async {
            let mut latencies: Vec<u32> = Vec::new();
            for task in all {
                latencies.append(&mut task.await??);
            }
            Ok::<_, anyhow::Error>(latencies)
        })
        .await?;
    ensure!(!latencies.is_empty(), "{} did nothing in time", system.name);
    latencies.sort_unstable();
    #[expect(clippy::cast_precision_loss, reason = "far below 2^53 operations")]
    let count = latencies.len() as f64;
    Ok(Sample {
        per_second: count / length.as_secs_f64(),
        p50: percentile(&latencies, 50),
        p99: percentile(&latencies, 99),
    })
}

/// So many connections, spread over the nodes.
async fn connect(system: &System, count: usize) -> Result<Vec<Connection>> {
    let mut lanes: Vec<Connection> = Vec::with_capacity(count);
    for number in 0..count {
        let sockets = system.sockets_max.min(count);
        let shared = match number.checked_sub(sockets) {
            Some(_) => lanes[number % sockets].shared(),
            None => None,
        };
        let lane = match shared {
            Some(lane) => lane,
            None => {
                let address = system.addresses[number % system.addresses.len()];
                Connection::open(system.protocol, address).await?
            }
        };
        lanes.push(lane);
    }
    Ok(lanes)
}
