//! A bucket of an S3-compatible service: where it is and how it is reached. Knows nothing of where
//! settings and credentials come from, and of what is stored.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use slatedb::object_store::aws::{AmazonS3Builder, S3ConditionalPut};
use slatedb::object_store::prefix::PrefixStore;
use slatedb::object_store::{self, BackoffConfig, ClientOptions, ObjectStore, RetryConfig};
use thiserror::Error;

use crate::plain::Plain;

/// How long a connection may take to come about: three attempts fit into what one answer may take.
const CONNECTS_WITHIN: Duration = Duration::from_secs(3);
/// How long one request may take, its answer included: parts of tables have a few megabytes.
const ANSWERED_WITHIN: Duration = Duration::from_secs(20);
/// How often the client itself repeats what failed; databases repeat it beyond that.
const RETRIES_MAX: usize = 2;
/// No repetition begins later than this.
const RETRIES_WITHIN: Duration = Duration::from_secs(8);
const BACKOFF_MIN: Duration = Duration::from_millis(50);
const BACKOFF_MAX: Duration = Duration::from_millis(500);
const SCHEME: &str = "s3://";
/// What the services agree on.
const NAME_BYTES: std::ops::RangeInclusive<usize> = 3..=63;
/// Keys have 1024 bytes at most, and names below a prefix need some of them.
const PREFIX_BYTES_MAX: usize = 512;

/// Who asks the service; never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    access_key_id: String,
    secret_access_key: String,
    session_token: Option<String>,
}

/// Where a bucket is, and who asks for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BucketSettings {
    name: String,
    /// Empty, or what all objects lie under.
    prefix: String,
    /// Of other services than that of AWS.
    endpoint: Option<String>,
    region: String,
    credentials: Credentials,
}

/// Settings with which no bucket can be used; correct them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum BucketSettingsError {
    /// Not the place of a bucket.
    #[error(
        "expected s3://BUCKET or s3://BUCKET/PREFIX, the bucket with 3 to 63 characters of a-z, \
         0-9, '.', '-', the prefix of names of a-z, A-Z, 0-9, '_', '.', '-' with '/' between them"
    )]
    Url,
    /// Not the address of a service.
    #[error("expected http://HOST:PORT or https://HOST:PORT, with nothing before or after that")]
    Endpoint,
    /// Not a region.
    #[error("expected letters, digits and '-'")]
    Region,
    /// Empty, or with characters that no credentials have.
    #[error("expected printable characters without spaces")]
    Credentials,
}

impl Credentials {
    /// Those of a user, with a token if they are temporary.
    ///
    /// # Errors
    /// If one is empty, or has characters that cannot be sent.
    pub fn new(
        access_key_id: String,
        secret_access_key: String,
        session_token: Option<String>,
    ) -> Result<Self, BucketSettingsError> {
        let fits = |text: &String| !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic());
        let all = [
            Some(&access_key_id),
            Some(&secret_access_key),
            session_token.as_ref(),
        ];
        if !all.into_iter().flatten().all(fits) {
            return Err(BucketSettingsError::Credentials);
        }
        Ok(Self {
            access_key_id,
            secret_access_key,
            session_token,
        })
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials")
    }
}

impl BucketSettings {
    /// A bucket at `s3://BUCKET/PREFIX`, of the service at `endpoint` or else that of AWS.
    ///
    /// # Errors
    /// If one of them is not what it should be.
    pub fn new(
        url: &str,
        endpoint: Option<&str>,
        region: &str,
        credentials: Credentials,
    ) -> Result<Self, BucketSettingsError> {
        let (name, prefix) = place(url).ok_or(BucketSettingsError::Url)?;
        if endpoint.is_some_and(|endpoint| !is_endpoint(endpoint)) {
            return Err(BucketSettingsError::Endpoint);
        }
        let region_fits = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
        if region.is_empty() || !region.bytes().all(region_fits) {
            return Err(BucketSettingsError::Region);
        }
        Ok(Self {
            name: name.to_owned(),
            prefix: prefix.to_owned(),
            endpoint: endpoint.map(|endpoint| endpoint.trim_end_matches('/').to_owned()),
            region: region.to_owned(),
            credentials,
        })
    }

    /// A client, which has asked nothing yet.
    pub(crate) fn client(&self) -> object_store::Result<Arc<dyn ObjectStore>> {
        let endpoint = self.endpoint.as_deref();
        let client = ClientOptions::new()
            .with_connect_timeout(CONNECTS_WITHIN)
            .with_timeout(ANSWERED_WITHIN)
            .with_allow_http(endpoint.is_some_and(|endpoint| endpoint.starts_with("http://")));
        let retry = RetryConfig {
            backoff: BackoffConfig {
                init_backoff: BACKOFF_MIN,
                max_backoff: BACKOFF_MAX,
                ..BackoffConfig::default()
            },
            max_retries: RETRIES_MAX,
            retry_timeout: RETRIES_WITHIN,
        };
        let who = &self.credentials;
        let mut builder = AmazonS3Builder::new()
            .with_bucket_name(&self.name)
            .with_region(&self.region)
            .with_access_key_id(&who.access_key_id)
            .with_secret_access_key(&who.secret_access_key)
            .with_conditional_put(S3ConditionalPut::ETagMatch)
            .with_client_options(client)
            .with_retry(retry);
        if let Some(token) = &who.session_token {
            builder = builder.with_token(token);
        }
        if let Some(endpoint) = endpoint {
            builder = builder.with_endpoint(endpoint);
        }
        let bucket = Plain(builder.build()?);
        if self.prefix.is_empty() {
            return Ok(Arc::new(bucket));
        }
        Ok(Arc::new(PrefixStore::new(bucket, self.prefix.as_str())))
    }
}

impl fmt::Display for BucketSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}", self.name)?;
        if !self.prefix.is_empty() {
            write!(f, "/{}", self.prefix)?;
        }
        match &self.endpoint {
            Some(endpoint) => write!(f, " at {endpoint}"),
            None => write!(f, " in {}", self.region),
        }
    }
}

/// The bucket and the prefix.
fn place(url: &str) -> Option<(&str, &str)> {
    let path = url.strip_prefix(SCHEME)?;
    let path = path.strip_suffix('/').unwrap_or(path);
    let (name, prefix) = path.split_once('/').unwrap_or((path, ""));
    let of_name = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b".-".contains(&b);
    let of_prefix = |b: u8| b.is_ascii_alphanumeric() || b"_.-".contains(&b);
    let is_part = |part: &str| {
        let leads_elsewhere = part.is_empty() || part.bytes().all(|b| b == b'.');
        !leads_elsewhere && part.bytes().all(of_prefix)
    };
    let fits = NAME_BYTES.contains(&name.len())
        && name.bytes().all(of_name)
        && prefix.len() <= PREFIX_BYTES_MAX
        && (!path.contains('/') || prefix.split('/').all(is_part));
    fits.then_some((name, prefix))
}

/// Whether it is the address of a service, without a user, a path or a query.
fn is_endpoint(text: &str) -> bool {
    let rest = text.strip_prefix("http://");
    let rest = rest.or_else(|| text.strip_prefix("https://"));
    let address = rest.map(|rest| rest.strip_suffix('/').unwrap_or(rest));
    address.is_some_and(|address| {
        let of_address = |b: u8| b.is_ascii_alphanumeric() || b".-_:[]".contains(&b);
        let is_port = |port: &str| port.parse::<u16>().is_ok_and(|port| port > 0);
        let host = match address.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => is_port(port).then_some(host),
            _ => Some(address),
        };
        let is_host = |host: &str| host.starts_with('[') == host.ends_with(']');
        let is_there = host.is_some_and(|host| !host.is_empty() && is_host(host));
        is_there && address.bytes().all(of_address)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn credentials() -> Credentials {
        let token = Some("a-token".to_owned());
        Credentials::new("an-id".to_owned(), "a-secret".to_owned(), token).expect("they fit")
    }

    fn bucket(url: &str, endpoint: Option<&str>) -> Result<BucketSettings, BucketSettingsError> {
        BucketSettings::new(url, endpoint, "us-east-1", credentials())
    }

    #[test]
    fn places_are_understood_or_refused() {
        for (url, shown) in [
            ("s3://rows", "s3://rows in us-east-1"),
            ("s3://rows/", "s3://rows in us-east-1"),
            ("s3://rows/a/b.c", "s3://rows/a/b.c in us-east-1"),
        ] {
            assert_eq!(
                bucket(url, None).map(|found| found.to_string()),
                Ok(shown.to_owned())
            );
        }
        let long = format!("s3://rows/{}", "a".repeat(PREFIX_BYTES_MAX + 1));
        for wrong in [
            "rows",
            "http://rows",
            "s3://",
            "s3:///a",
            "s3://ab",
            "s3://Rows",
            "s3://id:secret@rows",
            "s3://rows//",
            "s3://rows//a",
            "s3://rows/a//b",
            "s3://rows/../a",
            "s3://rows/a b",
            "s3://rows?a",
            &long,
        ] {
            assert_eq!(
                bucket(wrong, None),
                Err(BucketSettingsError::Url),
                "{wrong}"
            );
        }
    }

    #[test]
    fn addresses_of_services_are_understood_or_refused() {
        for endpoint in [
            "http://127.0.0.1:9000",
            "https://s3.example.org",
            "https://s3.example.org/",
            "http://[::1]:9000",
            "http://[::1]",
        ] {
            let found = bucket("s3://rows", Some(endpoint)).expect(endpoint);
            assert!(found.client().is_ok(), "{endpoint}");
        }
        for wrong in [
            "",
            "127.0.0.1:9000",
            "ftp://a",
            "http://",
            "http://:9000",
            "http://a:",
            "http://a:0",
            "http://a:65536",
            "http://a:b",
            "http://a/b",
            "http://a?b",
            "http://id:secret@a",
            "http://[::1",
            "http://a b",
        ] {
            let found = bucket("s3://rows", Some(wrong));
            assert_eq!(found, Err(BucketSettingsError::Endpoint), "{wrong}");
        }
        let found = BucketSettings::new("s3://rows", None, "eu west", credentials());
        assert_eq!(found, Err(BucketSettingsError::Region));
    }

    #[test]
    fn credentials_are_shown_nowhere_and_those_that_cannot_be_sent_are_refused() {
        let shown = format!("{0:?} {0}", bucket("s3://rows", None).expect("it fits"));
        for secret in ["an-id", "a-secret", "a-token"] {
            assert!(!shown.contains(secret), "{shown}");
        }
        for (id, secret, token) in [
            ("", "b", None),
            ("a", "", None),
            ("a", "b", Some("")),
            ("a\n", "b", None),
            ("a", "b ", None),
            ("a", "b", Some("ü")),
        ] {
            let token = token.map(str::to_owned);
            let found = Credentials::new(id.to_owned(), secret.to_owned(), token);
            assert_eq!(found, Err(BucketSettingsError::Credentials));
        }
    }
}
