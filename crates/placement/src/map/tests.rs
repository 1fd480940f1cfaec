//! The map as bytes and text: what it looks like, and what other versions may do to it.
#![expect(clippy::unwrap_used, reason = "tests")]

use serde_json::{Value, json};
use tablestore_ring::Point;

use crate::testing::{carry_out, cluster, create_table, definition};
use crate::{
    ClusterMap, Command, DecisionKind, Incarnation, Member, Refused, StorageId, Strategies, plan,
};

fn map() -> ClusterMap {
    let mut map = cluster(&[("eu/1", 1), ("eu/2", 2), ("", 1)]);
    create_table(&mut map, "users", &definition(2, 3, 2)).unwrap();
    let down = plan::on_member_down(&Strategies::built_in(), &map, StorageId(2), Incarnation(1));
    carry_out(&mut map, down).unwrap();
    map
}

#[test]
fn a_map_survives_both_encodings() {
    let map = map();
    let named = rmp_serde::to_vec_named(&map).unwrap();
    assert_eq!(rmp_serde::from_slice::<ClusterMap>(&named).unwrap(), map);
    let text = serde_json::to_string(&map).unwrap();
    assert_eq!(serde_json::from_str::<ClusterMap>(&text).unwrap(), map);
    let refused = Refused::AlreadyFounded {
        cluster: map.cluster,
    };
    let text = serde_json::to_string(&refused).unwrap();
    assert_eq!(serde_json::from_str::<Refused>(&text).unwrap(), refused);
}

#[test]
fn the_encoding_of_the_map_does_not_change_unnoticed() {
    insta::assert_snapshot!(serde_json::to_string_pretty(&map()).unwrap());
}

#[test]
fn a_field_of_a_newer_version_is_passed_over() {
    let mut value = serde_json::to_value(map()).unwrap();
    value["new"] = json!({"a": 1});
    value["members"]["1"]["new"] = json!([1, 2]);
    value["tables"]["1"]["partitions"][0]["new"] = json!("text");
    let named = rmp_serde::to_vec_named(&value).unwrap();
    // JSON keys are text; only in the binary form are they numbers.
    assert!(rmp_serde::from_slice::<Value>(&named).is_ok());
    assert_eq!(serde_json::from_value::<ClusterMap>(value).unwrap(), map());
}

#[test]
fn a_map_of_an_older_version_may_lack_what_has_a_default() {
    let old = json!({"format": 1, "cluster": 1, "version": 0});
    let expected = ClusterMap {
        cluster: crate::ClusterId(1),
        ..ClusterMap::empty()
    };
    assert_eq!(serde_json::from_value::<ClusterMap>(old).unwrap(), expected);
    let named = rmp_serde::to_vec_named(&json!({
        "storage": 1, "name": "n1", "http_address": "a", "peer_address": "b",
        "incarnation": 3, "state": "up",
    }))
    .unwrap();
    let member: Member = rmp_serde::from_slice(&named).unwrap();
    assert_eq!((member.weight, member.replaced_by), (1, None));
}

#[test]
fn decisions_of_before_that_say_stall_are_read_from_maps_and_logs() {
    let decision = json!({
        "id": 7, "at_ms": 5, "kind": "stall", "subject": 2, "evidence": "its disk is full",
    });
    let map = json!({"format": 1, "cluster": 1, "version": 9, "decisions": [decision]});
    let read: ClusterMap = serde_json::from_value(map).unwrap();
    assert_eq!(read.decisions[0].kind, DecisionKind::Stall);
    let command = json!({
        "Change": {"decision": decision, "members": [[2, 1, "suspect"]], "assignments": []},
    });
    let in_log = rmp_serde::to_vec_named(&command).unwrap();
    let Command::Change(change) = rmp_serde::from_slice(&in_log).unwrap() else {
        panic!("it is a change");
    };
    assert_eq!(change.decision.kind, DecisionKind::Stall);
    assert_eq!(change.decision.evidence, "its disk is full");
}

#[test]
fn a_command_is_small_and_readable_in_the_log() {
    let command = Command::DropTable {
        name: "users".to_owned(),
        at_ms: 1,
    };
    assert_eq!(
        serde_json::to_value(&command).unwrap(),
        json!({"DropTable": {"name": "users", "at_ms": 1}})
    );
    let short = json!({
        "AlterTable": {"name": "users", "alteration": {"replicas": 5}, "at_ms": 1},
    });
    let alter = Command::AlterTable {
        name: "users".to_owned(),
        alteration: crate::Alteration {
            replicas: Some(5),
            min_in_sync: None,
        },
        leaving: Vec::new(),
        at_ms: 1,
    };
    assert_eq!(serde_json::from_value::<Command>(short).unwrap(), alter);
}

#[test]
fn the_top_bits_of_a_point_pick_the_partition() {
    let table = definition(32, 3, 2);
    assert_eq!(table.partition_of(Point(0)), 0);
    assert_eq!(table.partition_of(Point(u64::MAX)), 31);
    assert_eq!(table.partition_of(Point(1 << 59)), 1);
    assert_eq!(definition(1, 3, 2).partition_of(Point(u64::MAX)), 0);
}
