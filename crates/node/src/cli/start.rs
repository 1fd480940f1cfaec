//! `tablestore start`: settings from flags, environment and file, then the node itself.
//!
//! Precedence: flag, then `TABLESTORE_*`, then the file, then the default.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use tablestore_node::log::Log;
use tablestore_node::metrics::Metrics;
use tablestore_node::{NodeBuilder, NodeSettings};

use super::ADDRESS;
use super::config::{Config, ConfigError, FromSetting};
use crate::terminal::{Exit, Failure, Screen};

/// Where a node keeps its data unless told otherwise.
const DATA_DIR: &str = "tablestore-data";
/// The name of a node unless told otherwise.
const NAME: &str = "n1";
/// The settings that a file may hold.
const SETTINGS: [&str; 16] = [
    "name",
    "data-dir",
    "listen",
    "peer-listen",
    "join",
    "zone",
    "weight",
    "voters",
    "insecure",
    "log",
    "rereplicate-after",
    "cold-start-wait",
    "checksum-every",
    "heartbeat-ms",
    "journal-segment-mib",
    "journal-segments",
];

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
    name: Option<String>,
    /// Where the node keeps everything [default: ./tablestore-data]
    #[arg(
        long,
        env = "TABLESTORE_DATA_DIR",
        hide_env_values = true,
        value_name = "DIR"
    )]
    data_dir: Option<PathBuf>,
    /// Address for clients [default: 127.0.0.1:7001]
    #[arg(
        long,
        env = "TABLESTORE_LISTEN",
        hide_env_values = true,
        value_name = "ADDRESS"
    )]
    listen: Option<SocketAddr>,
    /// Address for other nodes [default: the port after --listen]
    #[arg(
        long,
        env = "TABLESTORE_PEER_LISTEN",
        hide_env_values = true,
        value_name = "ADDRESS"
    )]
    peer_listen: Option<SocketAddr>,
    /// A node of the cluster to join, by its address for other nodes; may be repeated
    #[arg(
        long,
        env = "TABLESTORE_JOIN",
        hide_env_values = true,
        value_name = "ADDRESS",
        value_delimiter = ','
    )]
    join: Vec<String>,
    /// Where the node stands; copies are spread over zones
    #[arg(
        long,
        env = "TABLESTORE_ZONE",
        hide_env_values = true,
        value_name = "REGION/ZONE"
    )]
    zone: Option<String>,
    /// Share of the data relative to other nodes; 0 for none [default: 1]
    #[arg(long, env = "TABLESTORE_WEIGHT", hide_env_values = true)]
    weight: Option<u32>,
    /// Nodes that vote on the cluster map, at most [default: 5]
    #[arg(long, env = "TABLESTORE_VOTERS", hide_env_values = true)]
    voters: Option<usize>,
    /// File with settings (flat TOML)
    #[arg(
        long,
        env = "TABLESTORE_CONFIG",
        hide_env_values = true,
        value_name = "FILE"
    )]
    config: Option<PathBuf>,
    /// Found a new cluster although other nodes remember this address
    #[arg(long)]
    new_cluster: bool,
    /// Drop copies that stopped because they differed, and build them anew
    #[arg(long)]
    rebuild_stopped: bool,
    /// Listen beyond this machine although there are no credentials
    #[arg(long, env = "TABLESTORE_INSECURE", hide_env_values = true)]
    insecure: bool,
    /// What to log: a level, or a filter such as tablestore_node=debug [default: info]
    #[arg(
        long,
        env = "TABLESTORE_LOG",
        hide_env_values = true,
        value_name = "FILTER"
    )]
    log: Option<String>,
    /// Seconds after which a missing replica is replaced on another node
    #[arg(
        long,
        env = "TABLESTORE_REREPLICATE_AFTER",
        hide_env_values = true,
        value_name = "SECONDS"
    )]
    rereplicate_after: Option<u64>,
    /// Seconds that a new controller waits for nodes when all were down
    #[arg(
        long,
        env = "TABLESTORE_COLD_START_WAIT",
        hide_env_values = true,
        value_name = "SECONDS"
    )]
    cold_start_wait: Option<u64>,
    /// Seconds between comparisons of checksums across replicas
    #[arg(
        long,
        env = "TABLESTORE_CHECKSUM_EVERY",
        hide_env_values = true,
        value_name = "SECONDS"
    )]
    checksum_every: Option<u64>,
    /// Milliseconds between two signs of work that the controller asks for
    #[arg(
        long,
        env = "TABLESTORE_HEARTBEAT_MS",
        hide_env_values = true,
        value_name = "MS"
    )]
    heartbeat_ms: Option<u64>,
    /// Size of one file of the journal, in MiB [default: 64]
    #[arg(
        long,
        env = "TABLESTORE_JOURNAL_SEGMENT_MIB",
        hide_env_values = true,
        value_name = "MIB"
    )]
    journal_segment_mib: Option<u64>,
    /// Files of the journal at most, before rows are flushed to free the oldest [default: 8]
    #[arg(
        long,
        env = "TABLESTORE_JOURNAL_SEGMENTS",
        hide_env_values = true,
        value_name = "N"
    )]
    journal_segments: Option<u64>,
    /// Exit when standard input is closed, so that a program that starts nodes leaves none behind
    #[arg(long, hide = true)]
    exit_with_stdin: bool,
}

pub(crate) fn run(arguments: StartArguments, screen: Screen) -> Result<Exit, Failure> {
    let exit_with_stdin = arguments.exit_with_stdin;
    let filter = log_filter(&arguments)?;
    let settings = settings(arguments)?;
    settings
        .validate()
        .map_err(|error| Failure::usage(error.to_string()))?;
    let metrics = Arc::new(Metrics::new());
    let log = start_log(&filter, &metrics)?;
    if exit_with_stdin {
        exit_when_stdin_closes(log.clone())?;
    }
    let outcome = tablestore_node::start::run(NodeBuilder::new(settings).metrics(metrics), &log);
    let exit = outcome.map_or_else(
        |error| {
            let failure = Failure::caused_by(&error);
            // As all lines of a node: a reader that is stuck may not keep it from ending.
            log.line(screen.failure_text(&failure).as_bytes());
            failure.exit
        },
        |()| Exit::Done,
    );
    log.settle();
    Ok(exit)
}

fn read_config(path: &Option<PathBuf>) -> Result<Config, Failure> {
    let Some(path) = path else {
        return Ok(Config::default());
    };
    let shown = path.display();
    let text = std::fs::read_to_string(path)
        .map_err(|error| Failure::usage(format!("--config {shown}: {error}")))?;
    Config::parse(&text).map_err(|error| Failure::usage(format!("{shown}: {error}")))
}

fn log_filter(arguments: &StartArguments) -> Result<String, Failure> {
    if let Some(log) = &arguments.log {
        return Ok(log.clone());
    }
    let mut config = read_config(&arguments.config)?;
    Ok(config
        .take("log")
        .map_err(in_file)?
        .unwrap_or_else(|| format!("info,{},lsm_tree=warn", tablestore_consensus::LOG_FILTER)))
}

fn in_file(error: ConfigError) -> Failure {
    Failure::usage(format!("--config: {error}"))
}

/// Flags and file become the settings of a node.
fn settings(arguments: StartArguments) -> Result<NodeSettings, Failure> {
    let config = read_config(&arguments.config)?;
    merge(arguments, config)
}

fn merge(arguments: StartArguments, mut config: Config) -> Result<NodeSettings, Failure> {
    let file = &mut config;
    let name = or_file(arguments.name, file, "name")?.unwrap_or_else(|| NAME.to_owned());
    let in_file_dir: Option<String> = file.take("data-dir").map_err(in_file)?;
    let data_dir = arguments
        .data_dir
        .or_else(|| in_file_dir.map(PathBuf::from));
    let data_dir = data_dir.unwrap_or_else(|| PathBuf::from(DATA_DIR));
    let listen = address(arguments.listen, file, "listen")?
        .unwrap_or_else(|| ADDRESS.parse().expect("the default is an address"));
    let peer_listen = match address(arguments.peer_listen, file, "peer-listen")? {
        Some(address) => address,
        None => next_port(listen)?,
    };
    let mut settings = NodeSettings::new(&name, data_dir, listen, peer_listen);
    let in_file_join: Option<Vec<String>> = file.take("join").map_err(in_file)?;
    settings.join = if arguments.join.is_empty() {
        in_file_join.unwrap_or_default()
    } else {
        arguments.join
    };
    if let Some(zone) = or_file(arguments.zone, file, "zone")? {
        settings.zone = zone;
    }
    if let Some(weight) = or_file(arguments.weight.map(u64::from), file, "weight")? {
        settings.weight = u32::try_from(weight)
            .map_err(|_| Failure::usage(format!("weight: {weight} is too large")))?;
    }
    settings.new_cluster = arguments.new_cluster;
    settings.rebuild_stopped = arguments.rebuild_stopped;
    settings.insecure =
        or_file(arguments.insecure.then_some(true), file, "insecure")? == Some(true);
    let _: Option<String> = file.take("log").map_err(in_file)?;
    let seconds = Duration::from_secs;
    for (target, given, setting, unit) in [
        (
            &mut settings.rereplicate_after,
            arguments.rereplicate_after,
            "rereplicate-after",
            seconds as fn(u64) -> Duration,
        ),
        (
            &mut settings.cold_start_wait,
            arguments.cold_start_wait,
            "cold-start-wait",
            seconds,
        ),
        (
            &mut settings.checksum_every,
            arguments.checksum_every,
            "checksum-every",
            seconds,
        ),
        (
            &mut settings.heartbeat_every,
            arguments.heartbeat_ms,
            "heartbeat-ms",
            Duration::from_millis,
        ),
    ] {
        if let Some(value) = or_file(given, file, setting)? {
            *target = unit(value);
        }
    }
    let journal = (arguments.journal_segment_mib, arguments.journal_segments);
    merge_counts(arguments.voters, journal, file, &mut settings)?;
    config.finish(&SETTINGS).map_err(in_file)?;
    Ok(settings)
}

/// The same for voters, and for the journal: MiB of a segment, and how many.
fn merge_counts(
    voters: Option<usize>,
    (mib, segments): (Option<u64>, Option<u64>),
    file: &mut Config,
    settings: &mut NodeSettings,
) -> Result<(), Failure> {
    if let Some(voters) = or_file(voters.map(|voters| voters as u64), file, "voters")? {
        settings.voters_max = usize::try_from(voters).unwrap_or(usize::MAX);
    }
    if let Some(mib) = or_file(mib, file, "journal-segment-mib")? {
        settings.segment_bytes = mib.saturating_mul(1 << 20);
    }
    if let Some(segments) = or_file(segments, file, "journal-segments")? {
        settings.segments_max = usize::try_from(segments).unwrap_or(usize::MAX);
    }
    Ok(())
}

/// The flag if it was given; the file's value is taken in any case.
fn or_file<T: FromSetting>(
    flag: Option<T>,
    file: &mut Config,
    name: &str,
) -> Result<Option<T>, Failure> {
    let in_file_value = file.take(name).map_err(in_file)?;
    Ok(flag.or(in_file_value))
}

fn address(
    flag: Option<SocketAddr>,
    file: &mut Config,
    name: &str,
) -> Result<Option<SocketAddr>, Failure> {
    let text: Option<String> = file.take(name).map_err(in_file)?;
    let parsed = text
        .map(|text| {
            text.parse().map_err(|_| {
                Failure::usage(format!(
                    "{name}: expected an address with port, got `{text}`"
                ))
            })
        })
        .transpose()?;
    Ok(flag.or(parsed))
}

/// The default address for other nodes.
fn next_port(listen: SocketAddr) -> Result<SocketAddr, Failure> {
    let wrong = || {
        Failure::usage(format!(
            "listen: there is no port after {listen}; give --peer-listen too"
        ))
    };
    let port = listen.port();
    if port == 0 {
        return Ok(listen);
    }
    Ok(SocketAddr::new(
        listen.ip(),
        port.checked_add(1).ok_or_else(wrong)?,
    ))
}

fn start_log(filter: &str, metrics: &Metrics) -> Result<Log, Failure> {
    let filter = tracing_subscriber::EnvFilter::try_new(filter)
        .map_err(|error| Failure::usage(format!("--log: {error}")))?;
    let log = Log::on_stderr(metrics)?;
    log.take_over(filter)
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail by panic")]
    use super::*;

    fn merged(arguments: StartArguments, file: &str) -> Result<NodeSettings, Failure> {
        merge(arguments, Config::parse(file).unwrap())
    }

    #[test]
    fn without_arguments_a_single_node_listens_on_loopback() {
        let settings = merged(StartArguments::default(), "").unwrap();
        assert_eq!(settings.name, "n1");
        assert_eq!(settings.data_dir, PathBuf::from("tablestore-data"));
        assert_eq!(settings.listen.to_string(), "127.0.0.1:7001");
        assert_eq!(settings.peer_listen.to_string(), "127.0.0.1:7002");
        assert!(settings.join.is_empty());
        settings.validate().unwrap();
    }

    #[test]
    fn a_flag_goes_before_the_file_and_the_file_before_the_default() {
        let arguments = StartArguments {
            name: Some("flag".to_owned()),
            weight: Some(7),
            ..StartArguments::default()
        };
        let file = "name = \"file\"\nzone = \"eu/a\"\nlisten = \"127.0.0.1:9\"\nweight = 3\n\
                    join = [\"h:1\"]\nheartbeat_ms = 50\nrereplicate-after = 9\n";
        let settings = merged(arguments, file).unwrap();
        assert_eq!((settings.name.as_str(), settings.weight), ("flag", 7));
        assert_eq!(settings.zone, "eu/a");
        assert_eq!(settings.peer_listen.port(), 10);
        assert_eq!(settings.join, ["h:1"]);
        assert_eq!(settings.heartbeat_every, Duration::from_millis(50));
        assert_eq!(settings.rereplicate_after, Duration::from_secs(9));
    }

    #[test]
    fn every_setting_of_the_file_is_known_and_others_are_refused() {
        for name in SETTINGS {
            let error = merged(
                StartArguments::default(),
                &format!("{name} = [\"x\", \"y\"]"),
            );
            if name != "join" {
                let message = error.unwrap_err().message;
                assert!(
                    message.contains(&format!("`{name}`: expected")),
                    "{name}: {message}"
                );
            }
        }
        let error = merged(StartArguments::default(), "wait = 3").unwrap_err();
        assert!(
            error.message.contains("there is no setting `wait`"),
            "{}",
            error.message
        );
    }

    #[test]
    fn a_port_without_successor_needs_a_peer_address() {
        let listen = Some("127.0.0.1:65535".parse().unwrap());
        let error = merged(
            StartArguments {
                listen,
                ..StartArguments::default()
            },
            "",
        )
        .unwrap_err();
        assert!(error.message.contains("--peer-listen"), "{}", error.message);
    }
}
