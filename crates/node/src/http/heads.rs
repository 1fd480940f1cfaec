//! What is refused for the head of a request alone, whatever it asks: headers that stand twice, a
//! host that is not ours, and what the page of another site makes a browser send.
//!
//! A browser sends such requests with the rights of whoever sits before it, who may reach nodes
//! that the page's author cannot. It tells them by `Origin` and `Sec-Fetch-Site`; a page whose name
//! resolves to our address only by its `Host`. Knows nothing of paths and bodies.

use std::net::{IpAddr, Ipv6Addr};

use hyper::header::{self, HeaderName};
use hyper::{HeaderMap, Method, Request, Version};

use super::headers::{IDEMPOTENCY_KEY, TIMEOUT_MS};
use super::problem::{Kind, Problem};
use super::shared::method_not_allowed;

/// Headers of which only the first would be read, though another could change the outcome.
const SINGLE: [(HeaderName, &str); 9] = [
    (header::HOST, "Host"),
    (header::IF_MATCH, "If-Match"),
    (header::IF_NONE_MATCH, "If-None-Match"),
    (IDEMPOTENCY_KEY, "Idempotency-Key"),
    (header::CONTENT_TYPE, "Content-Type"),
    (header::CONTENT_ENCODING, "Content-Encoding"),
    (header::AUTHORIZATION, "Authorization"),
    (header::ORIGIN, "Origin"),
    (TIMEOUT_MS, "x-tablestore-timeout-ms"),
];
/// Every method that any path takes.
const METHODS: &str = "GET, HEAD, PUT, PATCH, POST, DELETE";
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const SEC_FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");
/// What a page may send to another site without asking first.
const SIMPLE: [&str; 3] = [
    "text/plain",
    "application/x-www-form-urlencoded",
    "multipart/form-data",
];

/// Whether a request may be looked at further, on a node that has these names beside its addresses.
///
/// # Errors
/// Names the header.
pub(crate) fn check<I>(request: &Request<I>, names: &[String]) -> Result<(), Problem> {
    let headers = request.headers();
    if request.method() == Method::CONNECT {
        return Err(method_not_allowed(METHODS));
    }
    single(headers)?;
    let host = match headers.get(header::HOST) {
        Some(host) => host.to_str().unwrap_or("other.bytes"),
        None if request.version() < Version::HTTP_11 => "",
        None => return Err(Problem::invalid("Host", "the host that is asked", "none")),
    };
    let of_target = request.uri().authority().map(|named| named.as_str());
    for host in [Some(host), of_target].into_iter().flatten() {
        if !is_ours(name_of(host), names) {
            let detail = format!("{host:?} is no name of this node");
            let expected = "an address of the node, localhost, or an allowed host";
            return Err(Problem::new(Kind::Forbidden, detail).about("Host", expected));
        }
    }
    if matches!(*request.method(), Method::GET | Method::HEAD) {
        return Ok(());
    }
    not_of_another_site(headers, host, names)
}

fn single(headers: &HeaderMap) -> Result<(), Problem> {
    if headers.len() == headers.keys_len() {
        return Ok(());
    }
    for (name, shown) in SINGLE {
        if headers.get_all(name).iter().nth(1).is_some() {
            return Err(Problem::invalid(shown, "one line", "several"));
        }
    }
    Ok(())
}

/// Without the port.
fn name_of(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => authority,
    }
}

/// A name without a dot is not of the public name system: nobody else can let it lead to us.
fn is_ours(name: &str, names: &[String]) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name);
    if let Some(address) = name.strip_prefix('[').and_then(|n| n.strip_suffix(']')) {
        return address.parse::<Ipv6Addr>().is_ok();
    }
    let of_this_machine = || name.to_ascii_lowercase().ends_with(".localhost");
    !name.contains(['.', '@', '/'])
        || name.parse::<IpAddr>().is_ok()
        || of_this_machine()
        || is_named(name, names)
}

fn is_named(name: &str, names: &[String]) -> bool {
    names.iter().any(|known| known.eq_ignore_ascii_case(name))
}

fn not_of_another_site(headers: &HeaderMap, host: &str, names: &[String]) -> Result<(), Problem> {
    let refused = |field: &'static str, value: &str, expected: &'static str| {
        let detail = format!("{field} {value:?}: pages of other sites may change nothing");
        Err(Problem::new(Kind::Forbidden, detail).about(field, expected))
    };
    let text = |name: HeaderName| {
        let value = headers.get(name)?;
        Some(value.to_str().unwrap_or("other bytes"))
    };
    let origin = text(header::ORIGIN);
    if let Some(origin) = origin {
        let authority = origin
            .split_once("://")
            .map_or("", |(_, authority)| authority);
        let same = !authority.is_empty()
            && (authority.eq_ignore_ascii_case(host) || is_named(name_of(authority), names));
        if !same {
            return refused("Origin", origin, "the host that is asked");
        }
    }
    let site = text(SEC_FETCH_SITE);
    if let Some(site) = site
        && !matches!(site, "none" | "same-origin")
    {
        return refused("Sec-Fetch-Site", site, "same-origin or none");
    }
    // Tools that fill in a type of their own send none of these.
    let of_browser = origin.or(site).is_some()
        || headers.contains_key(SEC_FETCH_MODE)
        || headers.contains_key(header::REFERER);
    if let Some(kind) = text(header::CONTENT_TYPE)
        && of_browser
    {
        let kind = kind.split(';').next().unwrap_or_default().trim();
        if SIMPLE
            .iter()
            .any(|simple| simple.eq_ignore_ascii_case(kind))
        {
            let detail = format!("{kind} could come from a page of another site");
            let problem = Problem::new(Kind::UnsupportedMediaType, detail);
            return Err(problem.about("Content-Type", "application/json"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_names_without_a_dot_and_allowed_names_are_ours() {
        let names = ["db.example.com".to_owned()];
        for ours in [
            "localhost",
            "localhost:7001",
            "a.localhost:1",
            "127.0.0.1:7001",
            "10.0.0.9",
            "[::1]",
            "[::1]:7001",
            "n1:7001",
            "DB.example.com.:80",
            "",
        ] {
            assert!(is_ours(name_of(ours), &names), "{ours}");
        }
        for foreign in [
            "evil.example",
            "evil.example:7001",
            "127.0.0.1.evil.example",
            "db.example.com.evil.example",
            "notlocalhost.example",
            "[evil.example]",
            "user@localhost",
        ] {
            assert!(!is_ours(name_of(foreign), &names), "{foreign}");
        }
    }
}
