//! Connections: how many, how long, and how they end.

use std::time::Duration;

use tablestore_node::http::HttpSettings;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::site::{Got, Site};

async fn read_all(socket: &mut TcpStream) -> String {
    let mut text = String::new();
    socket.read_to_string(&mut text).await.unwrap();
    text
}

/// One answer with a length, from a connection that stays open.
async fn read_answer(socket: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length: "));
            if body.len() >= length.map_or(0, |length| length.parse().unwrap()) {
                return text;
            }
        }
        assert!(
            socket.read_buf(&mut bytes).await.unwrap() > 0,
            "closed after {text:?}"
        );
    }
}

#[tokio::test]
async fn one_connection_more_than_allowed_is_told_so() {
    let settings = HttpSettings {
        connections_max: 1,
        ..HttpSettings::default()
    };
    let site = Site::with(settings).await;
    let mut first = TcpStream::connect(site.address).await.unwrap();
    first
        .write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n")
        .await
        .unwrap();
    read_answer(&mut first).await;
    let mut second = TcpStream::connect(site.address).await.unwrap();
    second
        .write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n")
        .await
        .unwrap();
    let mut answer = Vec::new();
    while second.read_buf(&mut answer).await.unwrap() > 0 {}
    let answer = String::from_utf8(answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert!(answer.contains("retry-after: 1\r\n"), "{answer}");
    assert!(
        answer.contains("\"code\":\"too_many_connections\""),
        "{answer}"
    );
    drop(second);
    // The first goes on, and when it is gone there is room.
    first
        .write_all(b"GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        .await
        .unwrap();
    let metrics = read_all(&mut first).await;
    assert!(
        metrics.contains("tablestore_http_connections 1\n"),
        "{metrics}"
    );
    assert!(
        metrics.contains("tablestore_http_connections_refused_total 1\n"),
        "{metrics}"
    );
    drop(first);
    // The end of the first is noticed in its own time.
    while site.get("/healthz").await.status == 503 {}
}

#[tokio::test]
async fn requests_on_one_connection_are_answered_in_order() {
    let site = Site::with_tables().await;
    let mut socket = TcpStream::connect(site.address).await.unwrap();
    let put =
        "PUT /v1/tables/plain/rows/a HTTP/1.1\r\nhost: x\r\ncontent-length: 7\r\n\r\n{\"n\":1}";
    let get = "GET /v1/tables/plain/rows/a HTTP/1.1\r\nhost: x\r\n\r\n";
    let bye = "GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    socket
        .write_all(format!("{put}{get}{bye}").as_bytes())
        .await
        .unwrap();
    let text = read_all(&mut socket).await;
    let bodies = [
        r#"{"version":101}"#,
        r#"{"id":"a","n":1}"#,
        r#"{"status":"alive"}"#,
    ];
    let places = bodies.map(|body| {
        text.find(body)
            .unwrap_or_else(|| panic!("{body} in {text}"))
    });
    assert!(places.is_sorted());
}

#[tokio::test]
async fn a_connection_that_says_nothing_is_closed() {
    let settings = HttpSettings {
        header_read_timeout: Duration::from_millis(1),
        ..HttpSettings::default()
    };
    let site = Site::with(settings).await;
    let mut socket = TcpStream::connect(site.address).await.unwrap();
    socket.write_all(b"GET /healthz HT").await.unwrap();
    let text = read_all(&mut socket).await;
    assert!(
        text.is_empty() || text.starts_with("HTTP/1.1 408"),
        "{text}"
    );
}

#[tokio::test]
async fn a_body_that_does_not_come_is_408() {
    let settings = HttpSettings {
        body_read_timeout: Duration::from_millis(1),
        ..HttpSettings::default()
    };
    let site = Site::with(settings).await;
    let head = "PUT /v1/tables/plain HTTP/1.1\r\nhost: x\r\ncontent-length: 7\r\n\r\n{";
    let mut socket = TcpStream::connect(site.address).await.unwrap();
    socket.write_all(head.as_bytes()).await.unwrap();
    let text = read_all(&mut socket).await;
    assert!(text.starts_with("HTTP/1.1 408 "), "{text}");
    assert!(text.contains("request_timeout"), "{text}");
}

#[tokio::test]
async fn stopping_finishes_what_is_under_way_and_ends_streams() {
    let site = Site::with_tables().await;
    let held = site.fake.gate.clone().write_owned().await;
    let slow = site.client.get(site.url("/v1/tables/plain/rows/a")).send();
    let slow = tokio::spawn(slow);
    site.fake.arrived.notified().await;
    let events = site
        .client
        .get(site.url("/v1/cluster/events"))
        .send()
        .await
        .unwrap();
    // A connection that waits for its next request.
    let mut idle = TcpStream::connect(site.address).await.unwrap();
    idle.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n")
        .await
        .unwrap();
    read_answer(&mut idle).await;

    site.stop.send(true).unwrap();
    assert_eq!(read_all(&mut idle).await, "");
    assert!(events.text().await.unwrap().starts_with("retry: "));
    // The listener is still open: who asks is told.
    let mut late = TcpStream::connect(site.address).await.unwrap();
    late.write_all(b"GET /readyz HTTP/1.1\r\nhost: x\r\n\r\n")
        .await
        .unwrap();
    let text = read_all(&mut late).await;
    assert!(
        text.starts_with("HTTP/1.1 503 ") && text.contains("connection: close"),
        "{text}"
    );
    assert!(!site.served.is_finished());

    drop(held);
    let answered = Got::read(slow.await.unwrap().unwrap()).await;
    answered.is_problem(404, "unknown_row");
    assert_eq!(answered.header("connection"), "close");
    site.served.await.unwrap().unwrap();
    assert!(TcpStream::connect(site.address).await.is_err());
}

#[tokio::test]
async fn what_is_not_finished_in_time_is_cut_off() {
    let settings = HttpSettings {
        shutdown_grace: Duration::ZERO,
        ..HttpSettings::default()
    };
    let site = Site::with(settings).await;
    let definition = r#"{"partition_key":{"name":"id","type":"string"}}"#;
    assert_eq!(site.put("/v1/tables/plain", definition).await.status, 201);
    let _held = site.fake.gate.clone().write_owned().await;
    let stuck = tokio::spawn(site.client.get(site.url("/v1/tables/plain/rows/a")).send());
    site.fake.arrived.notified().await;
    site.stop.send(true).unwrap();
    site.served.await.unwrap().unwrap();
    assert!(stuck.await.unwrap().is_err());
}
