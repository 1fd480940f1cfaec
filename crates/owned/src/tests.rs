//! Owned partitions in real directories: what is acknowledged is there, and of two owners only
//! the newer one acknowledges.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod counts;
mod gate;
mod idle;
mod merging;
mod owners;
mod rows;

use std::sync::Arc;

use bytes::Bytes;
use slatedb::object_store::ObjectStore;
use slatedb::object_store::local::LocalFileSystem;
use tablestore_replication::RequestId;
use tablestore_store::item::{codec, json};
use tablestore_store::{Condition, Effect, Item, Mutation};

use crate::{Owned, OwnedSettings, Storage, Write, WriteError, Written};

const PREFIX: &str = "tables/7/3";

/// A shared directory.
struct Shared {
    directory: tempfile::TempDir,
}

impl Shared {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        Self { directory }
    }

    fn storage(&self) -> Storage {
        Storage::directory(self.directory.path()).unwrap()
    }

    fn objects(&self) -> Arc<dyn ObjectStore> {
        let files = LocalFileSystem::new_with_prefix(self.directory.path()).unwrap();
        Arc::new(files.with_fsync(true))
    }

    async fn open(&self) -> Owned {
        open(&self.storage()).await
    }
}

async fn open(storage: &Storage) -> Owned {
    Owned::open(storage, PREFIX, OwnedSettings::default(), yes)
        .await
        .unwrap()
}

async fn yes() -> bool {
    true
}

async fn no() -> bool {
    false
}

fn key(number: u32) -> Vec<u8> {
    let mut key = vec![0x10];
    key.extend_from_slice(&number.to_be_bytes());
    key
}

fn item(text: &str) -> Item {
    json::parse_object(text.as_bytes()).unwrap()
}

fn put(number: u32, text: &str, condition: Condition) -> Mutation {
    Mutation::Put {
        key: key(number),
        item: item(text),
        condition,
    }
}

/// A write with an id of its own number, and a digest of its body.
fn write(id: u128, mutation: &Mutation) -> Write {
    let body = mutation.encode();
    let digest = body.iter().fold(1, |digest: u64, byte| {
        digest.wrapping_mul(31).wrapping_add(u64::from(*byte))
    });
    Write::new(RequestId(id), digest, Bytes::from(body)).unwrap()
}

async fn put_row(owned: &Owned, number: u32, text: &str) -> Result<Written, WriteError> {
    let id = u128::from(number) << 32 | text.len() as u128;
    owned
        .write(write(id, &put(number, text, Condition::None)))
        .await
}

/// The version and attributes of a row, by a strong read.
async fn row(owned: &Owned, number: u32) -> Option<(u64, Item)> {
    let found = owned.get(&key(number), yes).await.unwrap();
    found.map(|value| codec::decode_row(&value).unwrap())
}

fn effect(written: Written) -> Effect {
    Effect::of_number(written.outcome.code).unwrap()
}
