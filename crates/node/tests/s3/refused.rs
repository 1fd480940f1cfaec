//! A bucket that cannot be used is refused at the start, with what helps; nothing is left behind.

use crate::harness::Cluster;
use crate::service::Service;
use crate::{BUCKET, assert_nothing_secret_is_logged, prepared};

/// Starts the only node, which must refuse with these words.
async fn assert_refused(cluster: &mut Cluster, expected: &str) {
    let (status, told) = cluster.nodes[0].start_in_vain().await;
    assert!(!status.success(), "{told}");
    assert!(told.contains(expected), "not {expected:?}: {told}");
    assert!(!cluster.nodes[0].directory.exists(), "{told}");
    assert_nothing_secret_is_logged(cluster);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bucket_that_cannot_be_used_is_refused_with_what_helps() {
    let service = Service::started(BUCKET).await;
    let mut cluster = prepared(1, &service);
    cluster.nodes[0].environment[0].1 = "somebody-else".to_owned();
    assert_refused(&mut cluster, "the service refuses the credentials").await;

    let mut cluster = prepared(1, &service);
    *cluster.nodes[0].arguments.last_mut().unwrap() = "s3://no-such-bucket".to_owned();
    let expected = "shared-url: cannot use the bucket s3://no-such-bucket at http://127.0.0.1:";
    assert_refused(&mut cluster, expected).await;
    assert_refused(&mut cluster, "there is no such bucket").await;

    let mut cluster = prepared(1, &service);
    service.behave("overwrites").await;
    assert_refused(&mut cluster, "If-None-Match").await;
    service.behave("fails").await;
    assert_refused(&mut cluster, "the service cannot be reached there or fails").await;
    service.behave("hangs").await;
    assert_refused(&mut cluster, "the service cannot be reached there or fails").await;
    drop(service);
    assert_refused(&mut cluster, "the service cannot be reached there or fails").await;

    cluster.nodes[0].environment.remove(1);
    assert_refused(&mut cluster, "AWS_SECRET_ACCESS_KEY is not set").await;
}
