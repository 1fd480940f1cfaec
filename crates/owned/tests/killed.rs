//! An owner in a process of its own, which is killed with SIGKILL in the middle of its writes.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};

use bytes::Bytes;
use tablestore_owned::{Owned, OwnedSettings, Storage, Write};
use tablestore_replication::RequestId;
use tablestore_store::{Condition, Item, Mutation, Value};

/// Where the process that is to be killed finds the shared directory.
const DIRECTORY: &str = "TABLESTORE_TEST_SHARED_DIRECTORY";
const ACKNOWLEDGED: &str = "acknowledged ";
/// More than any run writes before it is killed.
const WRITES_MAX: u32 = 1_000_000;

async fn open(directory: &Path) -> Owned {
    let storage = Storage::directory(directory).unwrap();
    let confirm = || async { true };
    Owned::open(&storage, "p", OwnedSettings::default(), confirm)
        .await
        .unwrap()
}

fn key(number: u32) -> Vec<u8> {
    let mut key = vec![0x10];
    key.extend_from_slice(&number.to_be_bytes());
    key
}

fn put(number: u32) -> Write {
    let mutation = Mutation::Put {
        key: key(number),
        item: Item::from([("n".to_owned(), Value::from(number))]),
        condition: Condition::IfAbsent,
    };
    let payload = Bytes::from(mutation.encode());
    Write::new(
        RequestId(u128::from(number) + 1),
        u64::from(number),
        payload,
    )
    .unwrap()
}

/// Only in a process that the test below has started; else there is nothing to do.
#[tokio::test(flavor = "multi_thread")]
async fn an_owner_writes_until_it_is_killed() {
    let Some(directory) = std::env::var_os(DIRECTORY) else {
        return;
    };
    let owned = open(Path::new(&directory)).await;
    for number in 0..WRITES_MAX {
        owned.write(put(number)).await.unwrap();
        let mut out = std::io::stdout().lock();
        writeln!(out, "{ACKNOWLEDGED}{number}").unwrap();
        out.flush().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_owner_acknowledged_is_at_the_next_one() {
    let shared = tempfile::tempdir().unwrap();
    let mut expected = 0;
    for killed_after in [1, 40, 150] {
        let mut owner = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "an_owner_writes_until_it_is_killed",
                "--nocapture",
            ])
            .env(DIRECTORY, shared.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(owner.stdout.take().unwrap()).lines();
        let mut acknowledged = 0;
        for line in lines {
            // Until the pipe ends, so that all that was acknowledged is seen.
            if line.unwrap().contains(ACKNOWLEDGED) {
                acknowledged += 1;
                if acknowledged == killed_after {
                    owner.kill().unwrap();
                }
            }
        }
        owner.wait().unwrap();
        expected = expected.max(acknowledged);
        let next = open(shared.path()).await;
        for number in 0..expected {
            let found = next.get(&key(number), || async { true }).await.unwrap();
            assert!(found.is_some(), "{number} of {expected} is lost");
        }
        let again = next.write(put(0)).await.unwrap();
        assert!(again.repeated, "the first request is remembered");
        next.close().await;
    }
    assert!(expected >= 150);
}
