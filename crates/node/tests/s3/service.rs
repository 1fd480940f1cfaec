//! A service that speaks S3, as a process of its own. Knows nothing of nodes.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

/// Where the Python that has the service is, as `cargo xtask s3` says.
const PYTHON: &str = "TABLESTORE_TEST_S3_PYTHON";
const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/s3/server.py");
/// Those that the service knows.
pub const ACCESS_KEY_ID: &str = "test-id";
pub const SECRET_ACCESS_KEY: &str = "test-secret";
pub const SESSION_TOKEN: &str = "test-token";

/// The service, which ends with this.
#[derive(Debug)]
pub struct Service {
    child: Child,
    pub port: u16,
    http: reqwest::Client,
}

impl Service {
    /// With an empty bucket.
    pub async fn started(bucket: &str) -> Self {
        let python = std::env::var_os(PYTHON)
            .unwrap_or_else(|| panic!("{PYTHON} is not set: `cargo xtask s3` runs these tests"));
        let mut child = Command::new(python)
            .arg(SCRIPT)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let told = child.stdout.take().unwrap();
        BufReader::new(told).read_line(&mut line).unwrap();
        let port = line.trim().parse();
        let port = port.unwrap_or_else(|_| panic!("the service told {line:?}, not its port"));
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let service = Self { child, port, http };
        service.ask("PUT", bucket, "").await;
        service
    }

    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// One of the modes of the script.
    pub async fn behave(&self, mode: &str) {
        self.ask("PUT", "-mode", mode).await;
    }

    /// The names of at most a thousand objects in a bucket.
    pub async fn objects(&self, bucket: &str) -> Vec<String> {
        let listed = self.ask("GET", &format!("{bucket}?list-type=2"), "").await;
        let names = listed.split("<Key>").skip(1);
        let names = names.filter_map(|rest| rest.split("</Key>").next());
        names.map(str::to_owned).collect()
    }

    async fn ask(&self, method: &str, target: &str, body: &str) -> String {
        // The service looks only at who it is, not at the signature.
        let credential = format!(
            "AWS4-HMAC-SHA256 Credential={ACCESS_KEY_ID}/20260101/us-east-1/s3/aws4_request, \
             SignedHeaders=host, Signature=none"
        );
        let request = self
            .http
            .request(
                method.parse().unwrap(),
                format!("{}/{target}", self.endpoint()),
            )
            .header("authorization", credential)
            .body(body.to_owned());
        let answer = request.send().await.unwrap();
        assert!(answer.status().is_success(), "{target}: {answer:?}");
        answer.text().await.unwrap()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // It may have ended by itself; there is nobody left to tell.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
