//! Compressed bodies: taken as what they say, within the limits of a body, or refused.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;

use crate::site::{Got, Site};

fn packed(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

async fn put(site: &Site, encoding: &str, body: Vec<u8>) -> Got {
    let headers = [("content-encoding", encoding)];
    site.send("PUT", "/v1/tables/plain/rows/a", &headers, body)
        .await
}

#[tokio::test]
async fn a_packed_body_is_read_as_what_was_packed() {
    let site = Site::with_tables().await;
    // More than one frame of it, and a table, which goes another way.
    let text = "x".repeat(300_000);
    let row = format!("{{\"v\":\"{text}\"}}");
    assert_eq!(put(&site, "gzip", packed(row.as_bytes())).await.status, 200);
    assert_eq!(site.get("/v1/tables/plain/rows/a").await.json()["v"], text);
    assert_eq!(put(&site, "identity", b"{}".to_vec()).await.status, 200);
    let definition = br#"{"partition_key":{"name":"id","type":"string"}}"#;
    let headers = [("content-encoding", "GZIP")];
    let got = site
        .send("PUT", "/v1/tables/other", &headers, packed(definition))
        .await;
    assert_eq!(got.status, 201, "{got:?}");
}

#[tokio::test]
async fn a_body_that_is_not_what_it_is_called_is_400() {
    let site = Site::with_tables().await;
    let whole = packed(br#"{"v":1}"#);
    let trailed = [&whole[..], b"more"].concat();
    for body in [
        b"{}".to_vec(),
        whole[..whole.len() - 1].to_vec(),
        trailed,
        vec![],
    ] {
        let got = put(&site, "gzip", body).await;
        got.is_about(400, "invalid_request", "body");
    }
    let absent = site.get("/v1/tables/plain/rows/a").await;
    absent.is_problem(404, "unknown_row");
}

#[tokio::test]
async fn the_limit_of_a_body_is_that_of_what_was_packed() {
    let site = Site::with_tables().await;
    let got = put(&site, "gzip", packed(&vec![b' '; 64 << 20])).await;
    got.is_about(413, "too_large", "body");
}

#[tokio::test]
async fn another_encoding_is_415_and_says_which_is_taken() {
    let site = Site::with_tables().await;
    for encoding in ["br", "deflate", "gzip, gzip", ""] {
        let got = put(&site, encoding, b"{}".to_vec()).await;
        got.is_about(415, "unsupported_media_type", "Content-Encoding");
        assert_eq!(got.header("accept-encoding"), "gzip");
    }
}
