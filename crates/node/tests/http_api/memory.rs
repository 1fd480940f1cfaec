//! What clients can make a node hold: bodies that are sent slowly, answers that are not taken.

use std::time::Duration;

use tablestore_node::http::HttpSettings;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::site::Site;

const TABLE: &str = r#"{"partition_key":{"name":"id","type":"string"}}"#;

async fn site(settings: HttpSettings) -> Site {
    let site = Site::with(settings).await;
    assert_eq!(site.put("/v1/tables/plain", TABLE).await.status, 201);
    site
}

/// The value of a metric.
async fn metric(site: &Site, name: &str) -> u64 {
    let text = site.get("/metrics").await.text;
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.unwrap_or_else(|| panic!("no {name}"))
        .trim()
        .parse()
        .unwrap()
}

#[tokio::test]
async fn bodies_in_reading_have_one_limit_and_small_ones_pass() {
    let settings = HttpSettings {
        memory_bytes_max: 1 << 20,
        ..HttpSettings::default()
    };
    let site = site(settings).await;
    let mut slow = TcpStream::connect(site.address).await.unwrap();
    let head =
        "POST /v1/tables/plain/rows:batch HTTP/1.1\r\nhost: x\r\ncontent-length: 900000\r\n\r\n";
    slow.write_all(head.as_bytes()).await.unwrap();
    slow.write_all(&vec![b' '; 800_000]).await.unwrap();
    while metric(&site, "tablestore_http_memory_bytes ").await < 800_000 {}

    let large = format!("{{\"v\":\"{}\"}}", "x".repeat(300_000));
    let row = "/v1/tables/plain/rows/a";
    let refused = site.put(row, &large).await;
    refused.is_problem(503, "too_much_at_once");
    assert_eq!(
        metric(&site, "tablestore_http_memory_refused_total ").await,
        1
    );
    assert_eq!(site.put(row, "{}").await.status, 200);
    drop(slow);
    while metric(&site, "tablestore_http_memory_bytes ").await > 0 {}
    assert_eq!(site.put(row, &large).await.status, 200);
}

#[tokio::test]
async fn a_scan_above_the_limit_is_not_begun_and_a_large_answer_not_given() {
    let settings = HttpSettings {
        memory_bytes_max: 400_000,
        ..HttpSettings::default()
    };
    let site = site(settings).await;
    let third = format!("{{\"v\":\"{}\"}}", "x".repeat(150_000));
    for row in ["a", "b", "c"] {
        let got = site
            .put(&format!("/v1/tables/plain/rows/{row}"), &third)
            .await;
        assert_eq!(got.status, 200);
    }
    let refused = site.get("/v1/tables/plain/rows").await;
    refused.is_problem(503, "too_much_at_once");
    let got = site.get("/v1/tables/plain/rows?limit=1").await;
    assert_eq!(got.status, 200);
    while metric(&site, "tablestore_http_memory_bytes ").await > 0 {}
}

#[tokio::test]
async fn pipelined_requests_of_a_client_that_takes_nothing_are_answered_one_at_a_time() {
    let settings = HttpSettings {
        write_timeout: Duration::from_millis(200),
        ..HttpSettings::default()
    };
    let site = site(settings).await;
    let large = format!("{{\"v\":\"{}\"}}", "x".repeat(390_000));
    for row in 0..10 {
        let got = site
            .put(&format!("/v1/tables/plain/rows/{row}"), &large)
            .await;
        assert_eq!(got.status, 200);
    }
    let mut stuck = TcpStream::connect(site.address).await.unwrap();
    let scan = "GET /v1/tables/plain/rows HTTP/1.1\r\nhost: x\r\n\r\n".repeat(20);
    stuck.write_all(scan.as_bytes()).await.unwrap();
    // What is held is at most one answer, and ends with the patience of the node.
    let mut most = 0;
    loop {
        let held = metric(&site, "tablestore_http_memory_bytes ").await;
        most = held.max(most);
        if most > 0 && held == 0 && metric(&site, "tablestore_http_connections ").await == 1 {
            break;
        }
    }
    assert!(most < 5_000_000, "{most} bytes were held");
    let mut taken = Vec::new();
    // The end or a reset, but not all twenty.
    let _ = stuck.read_to_end(&mut taken).await;
    assert!(taken.len() < 19 * 3_900_000, "{} bytes", taken.len());
}
