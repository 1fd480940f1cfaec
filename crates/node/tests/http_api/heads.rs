//! What is refused for its head alone: headers that stand twice, foreign hosts, foreign pages.

use tablestore_node::http::HttpSettings;

use crate::site::Site;
use crate::wire::{exchange, last_problem};

const ROW: &str = "/v1/tables/plain/rows/a";

#[tokio::test]
async fn a_second_line_of_a_header_that_counts_once_is_refused() {
    let site = Site::with_tables().await;
    for (name, first, second) in [
        ("If-Match", "*", "\"999\""),
        ("If-None-Match", "*", "*"),
        ("Idempotency-Key", "a", "b"),
        ("Content-Type", "application/json", "text/plain"),
        ("Content-Encoding", "identity", "gzip"),
        ("Authorization", "a", "b"),
        ("Host", "localhost", "localhost"),
    ] {
        let mut request = format!("PUT {ROW} HTTP/1.1\r\nconnection: close\r\n");
        if name != "Host" {
            request += "host: x\r\n";
        }
        request += &format!("{name}: {first}\r\n{name}: {second}\r\ncontent-length: 2\r\n\r\n{{}}");
        let answer = exchange(&site, request.as_bytes(), false).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{name}: {answer}");
        assert_eq!(last_problem(&answer)["field"], name);
    }
    // What may stand twice does.
    let request = format!(
        "PUT {ROW} HTTP/1.1\r\nhost: x\r\nconnection: close\r\naccept: a/b\r\naccept: c/d\r\n\
         content-length: 2\r\n\r\n{{}}"
    );
    let answer = exchange(&site, request.as_bytes(), false).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}

#[tokio::test]
async fn a_request_names_its_host_and_a_tunnel_is_not_made() {
    let site = Site::with_tables().await;
    for (request, expected) in [
        ("GET /healthz HTTP/1.1\r\nconnection: close\r\n\r\n", "400"),
        ("GET /healthz HTTP/1.0\r\n\r\n", "200"),
        (
            "CONNECT evil.example:80 HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
            "405",
        ),
        (
            "GET http://evil.example/healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
            "403",
        ),
    ] {
        let answer = exchange(&site, request.as_bytes(), false).await;
        assert_eq!(&answer[9..12], expected, "{request:?}: {answer}");
    }
}

#[tokio::test]
async fn a_read_is_made_only_of_the_version_that_is_wanted() {
    let site = Site::with_tables().await;
    site.put(ROW, r#"{"v":1}"#).await;
    for (wanted, status) in [("\"101\"", 200), ("\"1\", \"101\"", 200), ("*", 200)] {
        let got = site.send("GET", ROW, &[("if-match", wanted)], "").await;
        assert_eq!(got.status, status, "{wanted}");
    }
    let got = site.send("GET", ROW, &[("if-match", "\"999\"")], "").await;
    assert_eq!(got.is_problem(412, "precondition_failed")["version"], 101);
    let got = site.send("GET", ROW, &[("if-match", "101")], "").await;
    got.is_about(400, "invalid_request", "If-Match");
}

#[tokio::test]
async fn a_page_of_another_site_changes_nothing() {
    let site = Site::with_tables().await;
    site.put(ROW, "{}").await;
    let batch = r#"{"put":[{"id":"owned"}],"delete":[{"id":"a"}]}"#;
    let own = format!("http://{}", site.address);
    for (headers, status, field) in [
        (vec![("origin", "http://evil.example")], 403, "Origin"),
        (vec![("origin", "null")], 403, "Origin"),
        (vec![("origin", "http://127.0.0.1:1")], 403, "Origin"),
        (
            vec![("sec-fetch-site", "cross-site")],
            403,
            "Sec-Fetch-Site",
        ),
        (vec![("sec-fetch-site", "same-site")], 403, "Sec-Fetch-Site"),
        (
            vec![
                ("origin", &*own),
                ("content-type", "text/plain;charset=UTF-8"),
            ],
            415,
            "Content-Type",
        ),
        (
            vec![
                ("referer", "http://evil.example/"),
                ("content-type", "application/x-www-form-urlencoded"),
            ],
            415,
            "Content-Type",
        ),
    ] {
        let code = if status == 403 {
            "forbidden"
        } else {
            "unsupported_media_type"
        };
        for target in ["/v1/tables/plain/rows:batch", "/v1/cluster/nodes/n2/drain"] {
            let got = site.send("POST", target, &headers, batch).await;
            got.is_about(status, code, field);
        }
    }
    assert_eq!(site.get(ROW).await.status, 200);
    // Our own page and a tool that calls everything a form go on as before.
    for headers in [
        vec![("origin", &*own), ("sec-fetch-site", "same-origin")],
        vec![("content-type", "application/x-www-form-urlencoded")],
    ] {
        let got = site
            .send("POST", "/v1/tables/plain/rows:batch", &headers, batch)
            .await;
        assert_eq!(got.status, 200, "{got:?}");
    }
}

#[tokio::test]
async fn a_name_that_leads_here_is_not_enough() {
    let settings = HttpSettings {
        allowed_hosts: vec!["db.example.com".to_owned()],
        ..HttpSettings::default()
    };
    let site = Site::with(settings).await;
    for (host, status) in [
        ("evil.example:7001", 403),
        ("db.example.com:7001", 200),
        ("localhost:7001", 200),
        ("n1", 200),
    ] {
        for method in ["GET", "HEAD"] {
            let got = site.send(method, "/v1/tables", &[("host", host)], "").await;
            assert_eq!(got.status, status, "{host}: {got:?}");
        }
    }
    let got = site
        .send("DELETE", "/v1/tables/t", &[("host", "evil.example")], "")
        .await;
    got.is_about(403, "forbidden", "Host");
}
