//! What goes over the socket whatever is asked: answers come at once, and refusals say why.

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::site::Site;

/// What comes back for these bytes until the node closes; with `half`, our side is closed first.
pub async fn exchange(site: &Site, bytes: &[u8], half: bool) -> String {
    let mut socket = TcpStream::connect(site.address).await.unwrap();
    let (mut read, mut write) = socket.split();
    let mut answer = Vec::new();
    let send = async {
        // The node may answer and close before it has all.
        let _ = write.write_all(bytes).await;
        if half {
            let _ = write.shutdown().await;
        }
    };
    let (read, ()) = tokio::join!(read.read_to_end(&mut answer), send);
    let text = String::from_utf8(answer).unwrap();
    read.unwrap_or_else(|error| panic!("{error} after {text:?}"));
    text
}

/// The problem that the last answer in `text` is.
#[track_caller]
pub fn last_problem(text: &str) -> Value {
    let (head, body) = text.rsplit_once("\r\n\r\n").unwrap();
    assert!(
        head.contains("content-type: application/problem+json"),
        "{text}"
    );
    serde_json::from_str(body).unwrap_or_else(|error| panic!("{error} in {text}"))
}

#[tokio::test]
async fn an_answer_does_not_wait_for_the_rest_of_what_follows() {
    let site = Site::with_tables().await;
    for rest in ["\r\n", "GET /heal"] {
        let mut socket = TcpStream::connect(site.address).await.unwrap();
        let put = "PUT /v1/tables/plain/rows/a HTTP/1.1\r\nhost: x\r\ncontent-length: 7\r\n\r\n\
                   {\"n\":1}";
        let bytes = format!("{put}{rest}");
        socket.write_all(bytes.as_bytes()).await.unwrap();
        let mut answer = vec![0; 12];
        socket.read_exact(&mut answer).await.unwrap();
        assert_eq!(answer, b"HTTP/1.1 200", "before {rest:?}");
    }
}

#[tokio::test]
async fn a_client_that_closed_its_side_is_answered() {
    let site = Site::with_tables().await;
    let put = b"PUT /v1/tables/plain/rows/a HTTP/1.1\r\nhost: x\r\ncontent-length: 7\r\n\r\n\
                {\"n\":1}";
    let answer = exchange(&site, put, true).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    // Also one that has to wait for its answer.
    let held = site.fake.gate.clone().write_owned().await;
    let get = b"GET /v1/tables/plain/rows/a HTTP/1.1\r\nhost: x\r\n\r\n";
    let free = async {
        site.fake.arrived.notified().await;
        drop(held);
    };
    let (answer, ()) = tokio::join!(exchange(&site, get, true), free);
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}

#[tokio::test]
async fn a_head_that_is_not_taken_is_refused_with_a_problem() {
    let site = Site::new().await;
    let long = "a".repeat(70_000);
    let lines: String = (0..120).map(|line| format!("x-{line}: y\r\n")).collect();
    let huge = "a".repeat(1 << 20);
    let get = "GET /healthz HTTP/1.1\r\nhost: x\r\n";
    for (request, status) in [
        ("hello\r\n\r\n".to_owned(), 400),
        ("\u{16}\u{3}\u{1}\r\n\r\n".to_owned(), 400),
        ("GET /a b HTTP/1.1\r\nhost: x\r\n\r\n".to_owned(), 400),
        ("GET / HTTP/3.9\r\nhost: x\r\n\r\n".to_owned(), 400),
        (
            format!("{get}content-length: 1\r\ncontent-length: 2\r\n\r\n"),
            400,
        ),
        (format!("GET /{long} HTTP/1.1\r\nhost: x\r\n\r\n"), 414),
        (format!("{get}{lines}\r\n"), 431),
        (format!("{get}x: {huge}\r\n\r\n"), 431),
    ] {
        let start = &request[..request.len().min(60)];
        let answer = exchange(&site, request.as_bytes(), false).await;
        let expected = format!("HTTP/1.1 {status} ");
        assert!(answer.starts_with(&expected), "{start:?}: {answer}");
        assert_eq!(last_problem(&answer)["status"], status, "{start:?}");
        assert!(answer.contains("connection: close"), "{answer}");
    }
}

#[tokio::test]
async fn a_bad_head_behind_a_good_request_leaves_the_answer_before_it() {
    let site = Site::new().await;
    let request = b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\nno HTTP at all\r\n\r\n";
    let answer = exchange(&site, request, false).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert!(answer.contains(r#"{"status":"alive"}"#), "{answer}");
    assert_eq!(last_problem(&answer)["code"], "invalid_request");
}

#[tokio::test]
async fn a_body_that_is_far_too_large_is_refused_while_it_is_still_sent() {
    let site = Site::with_tables().await;
    let mut request =
        b"PUT /v1/tables/plain/rows/a HTTP/1.1\r\nhost: x\r\ncontent-length: 2097152\r\n\
          connection: close\r\n\r\n"
            .to_vec();
    request.resize(request.len() + (2 << 20), b' ');
    let answer = exchange(&site, &request, false).await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    assert_eq!(last_problem(&answer)["code"], "too_large");
}
