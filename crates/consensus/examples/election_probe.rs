//! Measures how fast the nodes get over the death of its leader.
//!
//! Three processes on this machine; the leader is killed again and again (SIGKILL), and the new
//! one commits that the old one is down. Shown are milliseconds after the kill, as seen by the
//! driver: the first crash hint, the new leader ready, the entry applied on the other survivor.
//!
//! `cargo run --release -p tablestore-consensus --example election_probe -- [rounds]`
#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a tool for people"
)]

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command as Process, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use tablestore_consensus::{Consensus, ConsensusSettings, Identity, LinkEvent, Peers, bind};
use tablestore_placement::{
    Change, ClusterId, ClusterMap, Command, Decision, DecisionKind, Incarnation, MemberState,
    Registration, StorageId,
};

const NODES: u64 = 3;
const CALM: Duration = Duration::from_millis(700);
const PATIENCE: Duration = Duration::from_secs(20);

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if arguments.get(1).is_some_and(|word| word == "node") {
        let number = |at: usize| arguments[at].parse::<u64>().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(node(
            number(2),
            number(3),
            Path::new(&arguments[4]),
            &arguments[5],
        ));
    } else {
        drive(
            arguments
                .get(1)
                .map_or(20, |rounds| rounds.parse().unwrap()),
        );
    }
}

async fn node(storage: u64, incarnation: u64, directory: &Path, join: &str) {
    let (storage, incarnation) = (StorageId(storage), Incarnation(incarnation));
    let file = directory.join("address");
    let address = std::fs::read_to_string(&file).unwrap_or_else(|_| "127.0.0.1:0".to_owned());
    let listener = bind(address.parse().unwrap()).unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::fs::write(&file, &address).unwrap();
    let identity = Identity {
        storage,
        incarnation,
        boot: 1,
        name: format!("n{}", storage.0),
        http_address: String::new(),
        peer_address: address.clone(),
    };
    let (data, _sockets) = tokio::sync::mpsc::channel(1);
    let peers = Peers::open(identity, None, listener, data).unwrap();
    let settings = ConsensusSettings::new(storage, directory.to_owned());
    let consensus = Consensus::open(settings, peers.clone()).await.unwrap();
    let registration = Registration {
        storage,
        name: format!("n{}", storage.0),
        http_address: "127.0.0.1:1".to_owned(),
        peer_address: address,
        zone: String::new(),
        weight: 1,
        incarnation,
        start: 0,
        begun: Vec::new(),
        boot: 1,
        at_ms: 1,
    };
    let mut events = peers.events();
    tokio::spawn(async move {
        while let Some(event) = events.recv().await {
            if matches!(event, LinkEvent::RefusedTwice { .. }) {
                println!("hint");
            }
        }
    });
    tokio::spawn(tell_of_leadership(consensus.clone()));
    tokio::spawn(tell_of_map(consensus.clone()));
    if consensus.map().is_founded() {
        consensus
            .propose(Command::Register(registration))
            .await
            .unwrap();
    } else if join == "-" {
        consensus
            .found(ClusterId(1), registration, 1)
            .await
            .unwrap();
    } else {
        let seed = [join.to_owned()];
        let deadline = tokio::time::Instant::now() + PATIENCE;
        consensus
            .join(&seed, &registration, deadline)
            .await
            .unwrap();
    }
    std::future::pending::<()>().await;
}

/// Says when this node leads, and then commits that the leader before is down.
async fn tell_of_leadership(consensus: Consensus) {
    let mut leadership = consensus.watch_leadership();
    let me = consensus.peers().identity().storage;
    let mut before = consensus.leader();
    while leadership.changed().await.is_ok() {
        let now = *leadership.borrow_and_update();
        if now.is_me_and_ready {
            println!("ready");
            let map = consensus.map();
            if let Some(member) = before.take().and_then(|old| map.members.get(&old)) {
                let change = Change {
                    decision: Decision::new(DecisionKind::MemberDown, 1),
                    made_under: None,
                    members: vec![(member.storage, member.incarnation, MemberState::Down)],
                    assignments: Vec::new(),
                };
                let _ = consensus.propose(Command::Change(change)).await;
            }
        } else if now.leader.is_some_and(|leader| leader != me) {
            before = now.leader;
        }
    }
}

/// Says how many members are up whenever that changes, and whether all vote.
async fn tell_of_map(consensus: Consensus) {
    let mut maps = consensus.watch_map();
    let mut told = 0;
    loop {
        let up = |map: &ClusterMap| {
            map.members
                .values()
                .filter(|m| m.state == MemberState::Up)
                .count()
        };
        let now = up(&maps.borrow_and_update());
        if now != told {
            println!("up {now}");
            told = now;
        }
        if maps.changed().await.is_err() {
            return;
        }
    }
}

type Line = (usize, Instant, String);

struct Driver {
    directory: tempfile::TempDir,
    children: Vec<Child>,
    incarnations: Vec<u64>,
    lines: Receiver<Line>,
    sender: Sender<Line>,
    leader: usize,
}

impl Driver {
    fn start(&mut self, node: usize) {
        let directory = self.directory.path().join(node.to_string());
        std::fs::create_dir_all(&directory).unwrap();
        self.incarnations[node] += 1;
        let first = self.directory.path().join("0").join("address");
        let join = if node == 0 {
            "-".to_owned()
        } else {
            std::fs::read_to_string(first).unwrap()
        };
        let mut child = Process::new(std::env::current_exe().unwrap())
            .args([
                "node",
                &(node + 1).to_string(),
                &self.incarnations[node].to_string(),
            ])
            .arg(&directory)
            .arg(join)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let sender = self.sender.clone();
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                let _ = sender.send((node, Instant::now(), line));
            }
        });
        if node < self.children.len() {
            self.children[node] = child;
        } else {
            self.children.push(child);
        }
    }

    /// Takes lines until one fits.
    fn wait(&mut self, what: &str, mut fits: impl FnMut(&Line) -> bool) -> Line {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let Ok(line) = self.lines.recv_timeout(left) else {
                panic!("no {what}")
            };
            if line.2 == "ready" {
                self.leader = line.0;
            }
            if fits(&line) {
                return line;
            }
        }
    }

    fn round(&mut self) -> [f64; 3] {
        std::thread::sleep(CALM);
        while let Ok(line) = self.lines.try_recv() {
            if line.2 == "ready" {
                self.leader = line.0;
            }
        }
        let victim = self.leader;
        let killed = Instant::now();
        self.children[victim].kill().unwrap();
        let (mut hint, mut ready, mut applied) = (None, None, None);
        while applied.is_none() || ready.is_none() {
            let line = self.wait("failover", |line| line.0 != victim);
            let seen = line.1.duration_since(killed).as_secs_f64() * 1e3;
            match line.2.as_str() {
                "hint" => hint = hint.or(Some(seen)),
                "ready" => ready = Some((line.0, seen)),
                "up 2" if ready.is_none_or(|(leader, _)| leader != line.0) => {
                    applied = Some(seen);
                }
                _ => {}
            }
        }
        self.children[victim].wait().unwrap();
        self.start(victim);
        self.wait("return", |line| line.0 == victim && line.2 == "up 3");
        [hint.unwrap_or(f64::NAN), ready.unwrap().1, applied.unwrap()]
    }
}

fn drive(rounds: usize) {
    let (sender, lines) = channel();
    let mut driver = Driver {
        directory: tempfile::tempdir().unwrap(),
        children: Vec::new(),
        incarnations: vec![0; NODES as usize],
        lines,
        sender,
        leader: 0,
    };
    driver.start(0);
    driver.wait("founding", |line| line.2 == "up 1");
    for (node, members) in [(1, "up 2"), (2, "up 3")] {
        driver.start(node);
        driver.wait("join", |line| line.0 == node && line.2 == members);
    }
    std::thread::sleep(CALM);
    let mut columns = [const { Vec::new() }; 3];
    for _ in 0..rounds {
        for (column, value) in columns.iter_mut().zip(driver.round()) {
            column.push(value);
        }
    }
    for child in &mut driver.children {
        let _ = child.kill();
        let _ = child.wait();
    }
    println!("ms after the kill, {rounds} rounds    p50    p90    max");
    for (name, mut column) in ["first hint", "leader ready", "applied on the other"]
        .iter()
        .zip(columns)
    {
        column.sort_by(f64::total_cmp);
        let at = |share: f64| column[((column.len() - 1) as f64 * share).round() as usize];
        println!("{name:>34} {:6.1} {:6.1} {:6.1}", at(0.5), at(0.9), at(1.0));
    }
}
