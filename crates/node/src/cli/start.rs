//! `tablestore start`: settings from flags, environment and file, then the node itself.
//!
//! A setting is declared here, as an option: its name, which the environment and the file use as
//! well, what it means, and its default as people read it. `settings` turns it into the setting of
//! the library, the list of names in a file and the page on operations follow from it, and a test
//! compares the defaults. Knows nothing of what a setting does.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use tablestore_node::NodeBuilder;
use tablestore_node::log::{Log, LogFormat};
use tablestore_node::metrics::Metrics;

use super::settings::{log_filter, log_format, settings};
use crate::terminal::{Exit, Failure, Screen};

const HELP: &str = "\
Without --join the node founds a cluster of its own, or takes up the one in its data directory.
A file given by --config sets the same names: name = \"n1\", join = [\"10.0.0.1:7002\"], weight = 2.
A flag goes before the environment, the environment before the file.

A cluster of three:
  tablestore start --name n1 --data-dir d1 --listen 127.0.0.1:7001
  tablestore start --name n2 --data-dir d2 --listen 127.0.0.1:7011 --join 127.0.0.1:7002
  tablestore start --name n3 --data-dir d3 --listen 127.0.0.1:7021 --join 127.0.0.1:7002";

/// Options of `tablestore start`.
#[derive(Debug, Clone, Default, Args)]
#[command(after_help = HELP)]
pub(crate) struct StartArguments {
    /// Name of the node, for people; unique in its cluster [default: n1]
    #[arg(long, env = "TABLESTORE_NAME", hide_env_values = true)]
    pub(super) name: Option<String>,
    /// Where the node keeps everything [default: ./tablestore-data]
    #[arg(
        long,
        env = "TABLESTORE_DATA_DIR",
        hide_env_values = true,
        value_name = "DIR"
    )]
    pub(super) data_dir: Option<PathBuf>,
    /// A directory that all nodes share, for tables of the strategy partition
    #[arg(
        long,
        env = "TABLESTORE_SHARED_DIR",
        hide_env_values = true,
        value_name = "DIR"
    )]
    pub(super) shared_dir: Option<PathBuf>,
    /// A bucket that all nodes share instead, as s3://BUCKET/PREFIX, with credentials from
    /// AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN
    #[arg(
        long,
        env = "TABLESTORE_SHARED_URL",
        hide_env_values = true,
        value_name = "URL"
    )]
    pub(super) shared_url: Option<String>,
    /// Address of the service that has the bucket, if it is not AWS: http://HOST:PORT or https
    #[arg(
        long,
        env = "TABLESTORE_SHARED_ENDPOINT",
        hide_env_values = true,
        value_name = "URL"
    )]
    pub(super) shared_endpoint: Option<String>,
    /// Region of the bucket [default: us-east-1]
    #[arg(long, env = "TABLESTORE_SHARED_REGION", hide_env_values = true)]
    pub(super) shared_region: Option<String>,
    /// Milliseconds for which writes are gathered into one flush to the shared storage; with a
    /// bucket 100 [default: 1]
    #[arg(
        long,
        env = "TABLESTORE_SHARED_FLUSH_MS",
        hide_env_values = true,
        value_name = "MS"
    )]
    pub(super) shared_flush_ms: Option<u64>,
    /// Address for clients [default: 127.0.0.1:7001]
    #[arg(
        long,
        env = "TABLESTORE_LISTEN",
        hide_env_values = true,
        value_name = "ADDRESS"
    )]
    pub(super) listen: Option<SocketAddr>,
    /// Address for other nodes [default: the port after --listen]
    #[arg(
        long,
        env = "TABLESTORE_PEER_LISTEN",
        hide_env_values = true,
        value_name = "ADDRESS"
    )]
    pub(super) peer_listen: Option<SocketAddr>,
    /// A node of the cluster to join, by its address for nodes or for clients; may be repeated
    #[arg(
        long,
        env = "TABLESTORE_JOIN",
        hide_env_values = true,
        value_name = "ADDRESS",
        value_delimiter = ','
    )]
    pub(super) join: Vec<String>,
    /// Where the node stands; copies are spread over zones
    #[arg(
        long,
        env = "TABLESTORE_ZONE",
        hide_env_values = true,
        value_name = "REGION/ZONE"
    )]
    pub(super) zone: Option<String>,
    /// Share of the data relative to other nodes; 0 for none [default: 1]
    #[arg(long, env = "TABLESTORE_WEIGHT", hide_env_values = true)]
    pub(super) weight: Option<u32>,
    /// Nodes that vote on the cluster map, at most [default: 5]
    #[arg(long, env = "TABLESTORE_VOTERS", hide_env_values = true)]
    pub(super) voters: Option<usize>,
    /// File with settings (flat TOML)
    #[arg(
        long,
        env = "TABLESTORE_CONFIG",
        hide_env_values = true,
        value_name = "FILE"
    )]
    pub(super) config: Option<PathBuf>,
    /// Found a new cluster although other nodes remember this address
    #[arg(long)]
    pub(super) new_cluster: bool,
    /// Drop copies that stopped because they differed, and build them anew
    #[arg(long)]
    pub(super) rebuild_stopped: bool,
    /// Listen beyond this machine although there are no credentials
    #[arg(long, env = "TABLESTORE_INSECURE", hide_env_values = true)]
    pub(super) insecure: bool,
    /// A name with a dot under which clients may ask the node; may be repeated
    #[arg(
        long,
        env = "TABLESTORE_ALLOWED_HOST",
        hide_env_values = true,
        value_name = "NAME",
        value_delimiter = ','
    )]
    pub(super) allowed_host: Vec<String>,
    /// What to log: a level, or a filter such as info,tablestore_consensus=debug [default: info]
    #[arg(
        long,
        env = "TABLESTORE_LOG",
        hide_env_values = true,
        value_name = "FILTER"
    )]
    pub(super) log: Option<String>,
    /// How to write the log: text for people, or json with one object a line [default: text]
    #[arg(
        long,
        env = "TABLESTORE_LOG_FORMAT",
        hide_env_values = true,
        value_name = "FORMAT"
    )]
    pub(super) log_format: Option<String>,
    /// Seconds after which a missing replica is replaced on another node [default: 600]
    #[arg(
        long,
        env = "TABLESTORE_REREPLICATE_AFTER",
        hide_env_values = true,
        value_name = "SECONDS"
    )]
    pub(super) rereplicate_after: Option<u64>,
    /// Seconds that a new controller waits for nodes when all were down [default: 3]
    #[arg(
        long,
        env = "TABLESTORE_COLD_START_WAIT",
        hide_env_values = true,
        value_name = "SECONDS"
    )]
    pub(super) cold_start_wait: Option<u64>,
    /// Seconds between comparisons of checksums across replicas [default: 600]
    #[arg(
        long,
        env = "TABLESTORE_CHECKSUM_EVERY",
        hide_env_values = true,
        value_name = "SECONDS"
    )]
    pub(super) checksum_every: Option<u64>,
    /// Milliseconds between two signs of work that the controller asks for [default: 100]
    #[arg(
        long,
        env = "TABLESTORE_HEARTBEAT_MS",
        hide_env_values = true,
        value_name = "MS"
    )]
    pub(super) heartbeat_ms: Option<u64>,
    /// Size of one file of the journal, in MiB [default: 64]
    #[arg(
        long,
        env = "TABLESTORE_JOURNAL_SEGMENT_MIB",
        hide_env_values = true,
        value_name = "MIB"
    )]
    pub(super) journal_segment_mib: Option<u64>,
    /// Files of the journal at most, before rows are flushed to free the oldest [default: 8]
    #[arg(
        long,
        env = "TABLESTORE_JOURNAL_SEGMENTS",
        hide_env_values = true,
        value_name = "N"
    )]
    pub(super) journal_segments: Option<u64>,
    /// MiB of large bodies and answers that are held for all clients together [default: 256]
    #[arg(
        long,
        env = "TABLESTORE_CLIENT_MEMORY_MIB",
        hide_env_values = true,
        value_name = "MIB"
    )]
    pub(super) client_memory_mib: Option<u64>,
    /// Exit when standard input is closed, so that a program that starts nodes leaves none behind
    #[arg(long, hide = true)]
    pub(super) exit_with_stdin: bool,
}

pub(crate) fn run(arguments: StartArguments, screen: Screen) -> Result<Exit, Failure> {
    let exit_with_stdin = arguments.exit_with_stdin;
    let filter = log_filter(&arguments)?;
    let format = log_format(&arguments)?;
    let settings = settings(arguments)?;
    settings
        .validate()
        .map_err(|error| Failure::usage(error.to_string()))?;
    let metrics = Arc::new(Metrics::new());
    let log = start_log(&filter, format, &metrics)?;
    if exit_with_stdin {
        exit_when_stdin_closes(log.clone())?;
    }
    let outcome = tablestore_node::start::run(NodeBuilder::new(settings).metrics(metrics), &log);
    let exit = outcome.map_or_else(
        |error| {
            let failure = Failure::caused_by(&error);
            // As all lines of a node: a reader that is stuck may not keep it from ending.
            log.last_words(&screen.failure_text(&failure));
            failure.exit
        },
        |()| Exit::Done,
    );
    log.settle();
    Ok(exit)
}

fn start_log(filter: &str, format: LogFormat, metrics: &Metrics) -> Result<Log, Failure> {
    let filter = tracing_subscriber::EnvFilter::try_new(filter)
        .map_err(|error| Failure::usage(format!("--log: {error}")))?;
    let log = Log::on_stderr(metrics)?;
    log.take_over(filter, format)
        .map_err(|error| Failure::failed(format!("the log could not be set up: {error}")))?;
    Ok(log)
}

/// Whoever started this node holds the other end of its standard input; when that process is
/// gone, however it ended, this one goes too.
fn exit_when_stdin_closes(log: Log) -> Result<(), Failure> {
    std::thread::Builder::new()
        .name("stdin".to_owned())
        .spawn(move || {
            let _ = std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink());
            log.settle();
            std::process::exit(0);
        })?;
    Ok(())
}
