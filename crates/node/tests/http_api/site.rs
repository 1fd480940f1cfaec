//! A served fake and a client of it.

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, Method, Response};
use serde_json::{Value, json};
use tablestore_node::http::{HttpSettings, serve};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::fake::Fake;

/// One server on a port of the kernel's choice.
pub struct Site {
    pub fake: Fake,
    pub address: std::net::SocketAddr,
    pub client: Client,
    pub stop: watch::Sender<bool>,
    pub served: JoinHandle<std::io::Result<()>>,
}

/// What came back.
#[derive(Debug)]
pub struct Got {
    pub status: u16,
    pub headers: HeaderMap,
    pub text: String,
}

impl Got {
    pub async fn read(response: Response) -> Self {
        let status = response.status().as_u16();
        let headers = response.headers().clone();
        let text = response.text().await.expect("the body arrives");
        Self {
            status,
            headers,
            text,
        }
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text)
            .unwrap_or_else(|error| panic!("{error} in {:?}", self.text))
    }

    pub fn header(&self, name: &str) -> &str {
        let value = self
            .headers
            .get(name)
            .unwrap_or_else(|| panic!("no {name} in {self:?}"));
        value.to_str().expect("our headers are ASCII")
    }

    /// Checks a problem document.
    #[track_caller]
    pub fn is_problem(&self, status: u16, code: &str) -> Value {
        assert_eq!(self.status, status, "{self:?}");
        assert_eq!(self.header("content-type"), "application/problem+json");
        let document = self.json();
        assert_eq!(document["code"], code, "{document}");
        assert_eq!(document["status"], status, "{document}");
        for member in ["type", "title", "detail"] {
            assert!(
                document[member]
                    .as_str()
                    .is_some_and(|text| !text.is_empty()),
                "{document}"
            );
        }
        assert_eq!(
            document["retry_after"].is_u64(),
            self.headers.contains_key("retry-after")
        );
        document
    }

    /// Checks a problem about a field.
    #[track_caller]
    pub fn is_about(&self, status: u16, code: &str, field: &str) -> Value {
        let document = self.is_problem(status, code);
        assert_eq!(document["field"], field, "{document}");
        assert!(document["expected"].is_string(), "{document}");
        document
    }
}

impl Site {
    pub async fn new() -> Self {
        Self::with(HttpSettings::default()).await
    }

    pub async fn with(settings: HttpSettings) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a loopback port is free");
        let address = listener.local_addr().expect("it is bound");
        let fake = Fake::new();
        let (stop, stopping) = watch::channel(false);
        let served = tokio::spawn(serve(listener, fake.clone(), settings, stopping));
        let client = Client::builder()
            .no_proxy()
            .build()
            .expect("a plain client can be made");
        Self {
            fake,
            address,
            client,
            stop,
            served,
        }
    }

    /// One with the tables `plain` (id: string), `sorted` (id: string, at: number) and `raw`
    /// (id: binary).
    pub async fn with_tables() -> Self {
        let site = Self::new().await;
        for (name, definition) in [
            (
                "plain",
                json!({ "partition_key": { "name": "id", "type": "string" } }),
            ),
            (
                "sorted",
                json!({
                    "partition_key": { "name": "id", "type": "string" },
                    "sort_key": { "name": "at", "type": "number" },
                }),
            ),
            (
                "raw",
                json!({ "partition_key": { "name": "id", "type": "binary" } }),
            ),
        ] {
            let got = site
                .put(&format!("/v1/tables/{name}"), &definition.to_string())
                .await;
            assert_eq!(got.status, 201, "{got:?}");
        }
        site
    }

    pub fn url(&self, target: &str) -> String {
        format!("http://{}{target}", self.address)
    }

    pub async fn send(
        &self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: impl Into<reqwest::Body>,
    ) -> Got {
        let method = Method::from_bytes(method.as_bytes()).expect("the test's methods are");
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            let name = HeaderName::from_bytes(name.as_bytes()).expect("the test's names are");
            map.append(
                name,
                HeaderValue::from_str(value).expect("the test's values are"),
            );
        }
        let request = self
            .client
            .request(method, self.url(target))
            .headers(map)
            .body(body);
        Got::read(request.send().await.expect("the server answers")).await
    }

    pub async fn get(&self, target: &str) -> Got {
        self.send("GET", target, &[], "").await
    }

    pub async fn put(&self, target: &str, body: &str) -> Got {
        self.send("PUT", target, &[], body.to_owned()).await
    }

    pub async fn patch(&self, target: &str, body: &str) -> Got {
        self.send("PATCH", target, &[], body.to_owned()).await
    }

    pub async fn delete(&self, target: &str) -> Got {
        self.send("DELETE", target, &[], "").await
    }

    pub async fn post(&self, target: &str, body: &str) -> Got {
        self.send("POST", target, &[], body.to_owned()).await
    }
}
