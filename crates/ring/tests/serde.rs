//! What is serialized comes back as it was, and in a form that is written down here.
#![cfg(feature = "serde")]

use proptest::prelude::*;
use tablestore_ring::{Locate, Point, Ring, Server, WEIGHT_MAX};

#[test]
fn servers_and_points_have_this_form() {
    let server = Server::new("a".to_owned()).weight(2).zone("eu/1");
    let text = serde_json::to_string(&server).expect("a server is plain data");
    assert_eq!(text, r#"{"id":"a","weight":2,"zone":"eu/1"}"#);
    let lone = serde_json::to_string(&Server::new(7)).expect("a server is plain data");
    assert_eq!(lone, r#"{"id":7,"weight":1,"zone":null}"#);
    let point = serde_json::to_string(&Point::MAX).expect("a point is a number");
    assert_eq!(point, "18446744073709551615");
}

proptest! {
    #[test]
    fn a_ring_of_servers_that_came_back_answers_as_before(
        ids in proptest::collection::btree_set(".{0,8}", 1..8),
        weight in 1..=WEIGHT_MAX / 100,
        zone in "[a-z/]{0,4}",
        point in any::<u64>(),
    ) {
        let server = |id: &String| Server::new(id.clone()).weight(weight).zone(zone.as_str());
        let servers: Vec<Server<String>> = ids.iter().map(server).collect();
        let text = serde_json::to_string(&(&servers, Point(point))).expect("plain data");
        let (read, same): (Vec<Server<String>>, Point) =
            serde_json::from_str(&text).expect("what was written can be read");
        prop_assert_eq!(&read, &servers);
        prop_assert_eq!(same, Point(point));
        let (mut before, mut after) = (Ring::new(), Ring::new());
        before.extend(servers).expect("few tokens");
        after.extend(read).expect("few tokens");
        prop_assert_eq!(before.owner(same), after.owner(same));
    }
}
