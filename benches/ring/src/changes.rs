//! Building a ring of 10 000 servers, and adding and removing one.

use tablestore_ring::Server;

use crate::lookups::ring;
use crate::peers;
use crate::timing::{Contender, print, race};

const SERVERS: u64 = 10_000;
/// In the middle of the ids, so that neither end is favoured.
const CHANGED: u64 = SERVERS / 2;

pub fn build_add_remove(rounds: usize) {
    let build = vec![
        Contender::change("ours", || (), |()| ring(SERVERS)),
        Contender::change("hashring", || (), |()| peers::hash_ring(SERVERS)),
    ];
    print("build, 10 000 servers", &race(build, rounds));

    let (full, full_peer) = (ring(SERVERS), peers::hash_ring(SERVERS));
    let (mut lacking, mut lacking_peer) = (full.clone(), full_peer.clone());
    lacking.remove(&CHANGED);
    for vnode in peers::vnodes(CHANGED) {
        lacking_peer.remove(&vnode);
    }
    let add = vec![
        Contender::change(
            "ours",
            || lacking.clone(),
            |ring| ring.add(Server::new(CHANGED)),
        ),
        Contender::change(
            "hashring",
            || lacking_peer.clone(),
            |ring| ring.batch_add(peers::vnodes(CHANGED).collect()),
        ),
    ];
    print("add one of 10 000 servers", &race(add, rounds));

    let remove = vec![
        Contender::change("ours", || full.clone(), |ring| ring.remove(&CHANGED)),
        Contender::change(
            "hashring",
            || full_peer.clone(),
            |ring| {
                for vnode in peers::vnodes(CHANGED) {
                    ring.remove(&vnode);
                }
            },
        ),
    ];
    print("remove one of 10 000 servers", &race(remove, rounds));
}
