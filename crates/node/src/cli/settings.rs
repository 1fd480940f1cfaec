//! Options and file become the settings of a node.
//!
//! Precedence: flag, then `TABLESTORE_*`, then the file, then the default. Knows nothing of what an
//! option is called for people: that is `start`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Arg, Args as _, Command};
use tablestore_node::NodeSettings;
use tablestore_node::log::LogFormat;
use tablestore_node::settings::{BUCKET_FLUSH, BUCKET_REGION};
use tablestore_owned::{BucketSettings, BucketSettingsError, Credentials};

use super::ADDRESS;
use super::config::{Config, ConfigError, FromSetting};
use super::start::StartArguments;
use crate::terminal::Failure;

/// Where a node keeps its data unless told otherwise.
const DATA_DIR: &str = "tablestore-data";
/// The name of a node unless told otherwise.
const NAME: &str = "n1";
/// The option that names the file, which the file cannot set.
const CONFIG: &str = "config";

/// As all tools for such services take them.
const ACCESS_KEY_ID: &str = "AWS_ACCESS_KEY_ID";
const SECRET_ACCESS_KEY: &str = "AWS_SECRET_ACCESS_KEY";
const SESSION_TOKEN: &str = "AWS_SESSION_TOKEN";

/// The options that are settings: those that the environment and the file may give too.
fn declared() -> Vec<Arg> {
    let command = StartArguments::augment_args(Command::new("start"));
    let options = command.get_arguments();
    let settings = options.filter(|one| one.get_env().is_some() && one.get_long() != Some(CONFIG));
    settings.cloned().collect()
}

/// The settings that a file may hold.
fn names_in_file() -> Vec<String> {
    let declared = declared();
    let names = declared.iter().filter_map(Arg::get_long);
    names.map(str::to_owned).collect()
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

pub(super) fn log_filter(arguments: &StartArguments) -> Result<String, Failure> {
    if let Some(log) = &arguments.log {
        return Ok(log.clone());
    }
    let mut config = read_config(&arguments.config)?;
    Ok(config.take("log").map_err(in_file)?.unwrap_or_else(|| {
        format!(
            "info,{},lsm_tree=warn,slatedb=warn,object_store=warn",
            tablestore_consensus::LOG_FILTER
        )
    }))
}

pub(super) fn log_format(arguments: &StartArguments) -> Result<LogFormat, Failure> {
    let mut config = read_config(&arguments.config)?;
    let given = or_file(arguments.log_format.clone(), &mut config, "log-format")?;
    match given.as_deref() {
        None | Some("text") => Ok(LogFormat::Text),
        Some("json") => Ok(LogFormat::Json),
        Some(other) => Err(Failure::usage(format!(
            "log-format: expected text or json, got `{other}`"
        ))),
    }
}

fn in_file(error: ConfigError) -> Failure {
    Failure::usage(format!("--config: {error}"))
}

/// Flags and file become the settings of a node.
pub(super) fn settings(arguments: StartArguments) -> Result<NodeSettings, Failure> {
    let config = read_config(&arguments.config)?;
    merge(arguments, config, &|name| std::env::var(name).ok())
}

/// What the environment has under a name.
type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

fn merge(
    mut arguments: StartArguments,
    mut config: Config,
    environment: Environment<'_>,
) -> Result<NodeSettings, Failure> {
    let file = &mut config;
    let name = or_file(arguments.name.take(), file, "name")?.unwrap_or_else(|| NAME.to_owned());
    let data_dir = path_or_file(arguments.data_dir.take(), file, "data-dir")?;
    let data_dir = data_dir.unwrap_or_else(|| PathBuf::from(DATA_DIR));
    let listen = address(arguments.listen, file, "listen")?
        .unwrap_or_else(|| ADDRESS.parse().expect("the default is an address"));
    let peer_listen = match address(arguments.peer_listen, file, "peer-listen")? {
        Some(address) => address,
        None => next_port(listen)?,
    };
    let mut settings = NodeSettings::new(&name, data_dir, listen, peer_listen);
    merge_shared(&mut arguments, file, &mut settings, environment)?;
    settings.join = list_or_file(arguments.join, file, "join")?;
    settings.allowed_hosts = list_or_file(arguments.allowed_host, file, "allowed-host")?;
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
    for read_before in ["log", "log-format"] {
        let _: Option<String> = file.take(read_before).map_err(in_file)?;
    }
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
    merge_client_memory(arguments.client_memory_mib, file, &mut settings)?;
    let journal = (arguments.journal_segment_mib, arguments.journal_segments);
    merge_counts(arguments.voters, journal, file, &mut settings)?;
    config.finish(&names_in_file()).map_err(in_file)?;
    Ok(settings)
}

/// The same for what all nodes share.
fn merge_shared(
    arguments: &mut StartArguments,
    file: &mut Config,
    settings: &mut NodeSettings,
    environment: Environment<'_>,
) -> Result<(), Failure> {
    settings.shared_dir = path_or_file(arguments.shared_dir.take(), file, "shared-dir")?;
    let bucket = (
        arguments.shared_url.take(),
        arguments.shared_endpoint.take(),
        arguments.shared_region.take(),
    );
    merge_bucket(bucket, file, settings, environment)?;
    if let Some(flush_ms) = or_file(arguments.shared_flush_ms, file, "shared-flush-ms")? {
        settings.shared_flush = Duration::from_millis(flush_ms);
    }
    Ok(())
}

/// The same for a bucket, whose credentials are in the environment alone: an option is seen by all
/// users of the machine, and a file is copied.
fn merge_bucket(
    (url, endpoint, region): (Option<String>, Option<String>, Option<String>),
    file: &mut Config,
    settings: &mut NodeSettings,
    environment: Environment<'_>,
) -> Result<(), Failure> {
    let url = or_file(url, file, "shared-url")?;
    let endpoint = or_file(endpoint, file, "shared-endpoint")?;
    let region = or_file(region, file, "shared-region")?;
    let Some(url) = url else {
        return match endpoint {
            Some(_) => Err(Failure::usage(
                "shared-endpoint: expected only together with shared-url",
            )),
            None => Ok(()),
        };
    };
    let given = |name: &'static str| environment(name).filter(|value| !value.is_empty());
    let needed = |name: &'static str| {
        given(name).ok_or_else(|| {
            Failure::usage(format!(
                "shared-url: expected the credentials for it in the environment, and {name} is not \
                 set"
            ))
        })
    };
    let credentials = Credentials::new(
        needed(ACCESS_KEY_ID)?,
        needed(SECRET_ACCESS_KEY)?,
        given(SESSION_TOKEN),
    );
    let credentials = credentials.map_err(|error| {
        let names = format!("{ACCESS_KEY_ID}, {SECRET_ACCESS_KEY}, {SESSION_TOKEN}");
        Failure::usage(format!("{names}: {error}"))
    })?;
    let region = region.as_deref().unwrap_or(BUCKET_REGION);
    let bucket = BucketSettings::new(&url, endpoint.as_deref(), region, credentials);
    let bucket = bucket.map_err(|error| {
        let field = match error {
            BucketSettingsError::Endpoint => "shared-endpoint",
            BucketSettingsError::Region => "shared-region",
            _ => "shared-url",
        };
        // What was given is not repeated: credentials may be in it.
        Failure::usage(format!("{field}: {error}"))
    })?;
    settings.shared_bucket = Some(bucket);
    settings.shared_flush = BUCKET_FLUSH;
    Ok(())
}

/// The same for MiB that are held for clients.
fn merge_client_memory(
    mib: Option<u64>,
    file: &mut Config,
    settings: &mut NodeSettings,
) -> Result<(), Failure> {
    if let Some(mib) = or_file(mib, file, "client-memory-mib")? {
        let bytes = mib.saturating_mul(1 << 20);
        settings.client_memory_bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
    }
    Ok(())
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

/// The same for a path.
fn path_or_file(
    flag: Option<PathBuf>,
    file: &mut Config,
    name: &str,
) -> Result<Option<PathBuf>, Failure> {
    let in_file_value: Option<String> = file.take(name).map_err(in_file)?;
    Ok(flag.or_else(|| in_file_value.map(PathBuf::from)))
}

/// The same for a setting that may be repeated.
fn list_or_file(flags: Vec<String>, file: &mut Config, name: &str) -> Result<Vec<String>, Failure> {
    let flags = Some(flags).filter(|flags| !flags.is_empty());
    Ok(or_file(flags, file, name)?.unwrap_or_default())
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail by panic")]
    use clap::FromArgMatches as _;

    use super::*;

    fn merged(arguments: StartArguments, file: &str) -> Result<NodeSettings, Failure> {
        merge(arguments, Config::parse(file).unwrap(), &|_| None)
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
    fn the_log_is_text_or_json_and_nothing_else() {
        let told = |format: Option<&str>| {
            log_format(&StartArguments {
                log_format: format.map(str::to_owned),
                ..StartArguments::default()
            })
        };
        assert_eq!(told(None).unwrap(), LogFormat::Text);
        assert_eq!(told(Some("json")).unwrap(), LogFormat::Json);
        let refused = told(Some("xml")).unwrap_err().message;
        assert_eq!(refused, "log-format: expected text or json, got `xml`");
    }

    #[test]
    fn every_setting_of_the_file_is_known_and_others_are_refused() {
        for name in names_in_file() {
            let error = merged(
                StartArguments::default(),
                &format!("{name} = [\"x\", \"y\"]"),
            );
            if name != "join" && name != "allowed-host" {
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

    /// The settings of a bucket with credentials for it, and what is wrong with them otherwise.
    fn in_bucket(file: &str, secret: Option<&str>) -> Result<NodeSettings, String> {
        let environment = |name: &str| match name {
            ACCESS_KEY_ID => Some("an-id".to_owned()),
            SECRET_ACCESS_KEY => secret.map(str::to_owned),
            _ => None,
        };
        let config = Config::parse(file).unwrap();
        merge(StartArguments::default(), config, &environment).map_err(|failure| failure.message)
    }

    #[test]
    fn a_bucket_takes_its_credentials_from_the_environment_and_shows_them_nowhere() {
        let file = "shared-url = \"s3://rows/a\"\nshared-endpoint = \"http://127.0.0.1:9000\"";
        let settings = in_bucket(file, Some("a-secret")).unwrap();
        let shown = format!("{settings:?}");
        assert!(
            !shown.contains("an-id") && !shown.contains("a-secret"),
            "{shown}"
        );
        let bucket = settings.shared_bucket.unwrap().to_string();
        assert_eq!(bucket, "s3://rows/a at http://127.0.0.1:9000");
        assert_eq!(settings.shared_flush, BUCKET_FLUSH);
        let flush = format!("{file}\nshared-flush-ms = 7");
        let settings = in_bucket(&flush, Some("a-secret")).unwrap();
        assert_eq!(settings.shared_flush, Duration::from_millis(7));
    }

    #[test]
    fn what_is_wrong_with_a_bucket_is_told_by_its_setting_without_what_was_given() {
        let url = "shared-url = \"s3://rows\"";
        for (file, secret, expected) in [
            (url, None, "AWS_SECRET_ACCESS_KEY is not set"),
            (url, Some(""), "AWS_SECRET_ACCESS_KEY is not set"),
            (
                url,
                Some("a secret"),
                "AWS_SESSION_TOKEN: expected printable",
            ),
            (
                "shared-url = \"s3://a:secret@b\"",
                Some("s"),
                "shared-url: expected s3://BUCKET",
            ),
            (
                "shared-endpoint = \"http://a:secret@b\"",
                Some("s"),
                "shared-endpoint: expected only",
            ),
        ] {
            let told = in_bucket(file, secret).unwrap_err();
            assert!(told.contains(expected), "{file}: {told}");
            assert!(!told.contains("secret"), "{file}: {told}");
        }
        for (more, expected) in [
            (
                "shared-endpoint = \"http://a:secret@b\"",
                "shared-endpoint: expected http://HOST",
            ),
            (
                "shared-region = \"a secret\"",
                "shared-region: expected letters",
            ),
        ] {
            let told = in_bucket(&format!("{url}\n{more}"), Some("s")).unwrap_err();
            assert!(told.contains(expected), "{more}: {told}");
            assert!(!told.contains("secret"), "{more}: {told}");
        }
        let both = in_bucket(&format!("{url}\nshared-dir = \"d\""), Some("s")).unwrap();
        let told = both.validate().unwrap_err().to_string();
        assert_eq!(
            told,
            "shared-dir: expected nothing, as shared-url is given, got d"
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

    /// What a setting means, and its default if it has one.
    fn shown(one: &Arg) -> (String, Option<String>) {
        let help = one.get_help().unwrap().to_string();
        match help.split_once(" [default: ") {
            Some((meaning, rest)) => (
                meaning.to_owned(),
                Some(rest.trim_end_matches(']').to_owned()),
            ),
            None => (help, None),
        }
    }

    fn given(arguments: &[&str]) -> String {
        let command = StartArguments::augment_args(Command::new("start").no_binary_name(true));
        let matches = command.try_get_matches_from(arguments).unwrap();
        let arguments = StartArguments::from_arg_matches(&matches).unwrap();
        format!("{:?}", merged(arguments, "").unwrap())
    }

    #[test]
    fn the_default_that_people_read_is_the_one_that_a_node_has() {
        let without = given(&[]);
        for one in declared() {
            let name = one.get_long().unwrap();
            let (_, Some(default)) = shown(&one) else {
                continue;
            };
            let value = match name {
                "peer-listen" => "127.0.0.1:7002",
                _ => default.trim_start_matches("./"),
            };
            let with = given(&[&format!("--{name}"), value]);
            assert_eq!(with, without, "--{name}");
        }
    }

    #[test]
    fn the_settings_on_the_page_are_those_of_the_help() {
        let mut expected = String::from("| setting | default | meaning |\n|---|---|---|\n");
        for one in declared() {
            let (meaning, default) = shown(&one);
            let default =
                default.map_or_else(|| "none".to_owned(), |default| format!("`{default}`"));
            let name = one.get_long().unwrap();
            expected.push_str(&format!("| `{name}` | {default} | {meaning} |\n"));
        }
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/operations.md");
        let page = std::fs::read_to_string(path).unwrap();
        assert!(
            page.contains(&format!(
                "<!-- settings -->\n{expected}<!-- end of settings -->"
            )),
            "put this into docs/operations.md:\n{expected}"
        );
    }
}
