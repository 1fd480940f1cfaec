//! What travels between nodes beside the rows, byte by byte: the greeting of every connection,
//! and all requests and answers of control connections.

use bytes::BytesMut;
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderRequest,
    VoteRequest, VoteResponse,
};
use openraft::{EntryPayload, entry::RaftEntry};
use serde::de::DeserializeOwned;
use tablestore_placement::identity::SeenStart;
use tablestore_placement::{
    Applied, AssignmentVersion, ClusterId, Command, Epoch, Incarnation, MadeUnder, MapVersion,
    MemberState, Office, PartitionId, Refused, Registration, Rule, StorageId, TableId,
};
use tablestore_store::maplog::EntryId;
use tablestore_store::testing::golden::{Golden, bytes, hex};

use crate::envelope::{Envelope, Kind, decode_body, encode_body};
use crate::greeting::{Greeting, Hello, Identity, Purpose, encode_frame};
use crate::log::log_id;
use crate::message::{
    Blob, HeartbeatAnswer, HeartbeatRequest, JoinReply, PartitionProgress, PeerReply, PeerRequest,
    ProbeReply, ProposeReply, SnapshotRequest,
};
use crate::shown::ShownStart;
use crate::types::{Entry, LogId, Proposal, SnapshotMeta, Vote};

fn id(index: u64) -> LogId {
    let id = EntryId {
        term: 2,
        leader: 1 << 60,
        index,
    };
    log_id(id)
}

fn partition() -> PartitionId {
    PartitionId::new(TableId(7), 3)
}

/// A name for each kind: another kind does not compile here, and belongs into [`requests`].
fn name_of_request(request: &PeerRequest) -> &'static str {
    match request {
        PeerRequest::Vote(_) => "vote",
        PeerRequest::PreVote(_) => "pre-vote",
        PeerRequest::Append(_) => "append",
        PeerRequest::Snapshot(_) => "snapshot",
        PeerRequest::TransferLeader(_) => "transfer leader",
        PeerRequest::Propose { .. } => "propose",
        PeerRequest::ReadIndex => "read index",
        PeerRequest::Join(_) => "join",
        PeerRequest::Ping { .. } => "ping",
        PeerRequest::CrashHint { .. } => "crash hint",
        PeerRequest::ProbeOther { .. } => "probe other",
        PeerRequest::Heartbeat(_) => "heartbeat",
        PeerRequest::ShowStart(_) => "show start",
    }
}

fn drop_table() -> Command {
    Command::DropTable {
        name: "users".to_owned(),
        at_ms: 1,
    }
}

fn raft_requests() -> Vec<PeerRequest> {
    let vote = VoteRequest::new(Vote::new(3, 1), Some(id(300)));
    let entries = vec![
        Entry::new_blank(id(301)),
        Entry::new(id(302), EntryPayload::Normal(Proposal(drop_table()))),
    ];
    vec![
        PeerRequest::Vote(vote.clone()),
        PeerRequest::PreVote(vote),
        PeerRequest::Append(AppendEntriesRequest {
            vote: Vote::new_committed(3, 1),
            prev_log_id: Some(id(300)),
            entries,
            leader_commit: Some(id(299)),
        }),
        PeerRequest::Snapshot(SnapshotRequest {
            vote: Vote::new_committed(3, 1),
            meta: SnapshotMeta::default(),
            data: Blob(vec![1, 2, 3]),
        }),
        PeerRequest::TransferLeader(TransferLeaderRequest::new(
            Vote::new_committed(3, 1),
            2,
            Some(id(300)),
        )),
    ]
}

fn requests() -> Vec<PeerRequest> {
    let mut requests = raft_requests();
    requests.extend([
        PeerRequest::Propose {
            command: drop_table(),
            within_ms: 400,
        },
        PeerRequest::ReadIndex,
        PeerRequest::Join(Registration {
            storage: StorageId(1 << 60),
            name: "n1".to_owned(),
            http_address: "a:1".to_owned(),
            peer_address: "a:2".to_owned(),
            zone: "eu/1".to_owned(),
            weight: 3,
            incarnation: Incarnation(2),
            start: 77,
            begun: vec![76, 77],
            boot: 5,
            at_ms: 9,
        }),
        PeerRequest::Ping {
            last_log: Some(id(300)),
        },
        PeerRequest::CrashHint {
            storage: StorageId(2),
            incarnation: Incarnation(4),
            last_log: None,
        },
        PeerRequest::ProbeOther {
            storage: StorageId(2),
        },
        PeerRequest::Heartbeat(HeartbeatRequest {
            full: vec![StorageId(3)],
            clock_off_ms: Some(-700),
        }),
        PeerRequest::ShowStart(ShownStart {
            storage: StorageId(1),
            begun: vec![76, 77],
            last_log: Some(id(300)),
            ends: vec![(partition(), Some(5)), (PartitionId::default(), None)],
        }),
    ]);
    requests
}

/// A name for each kind: another kind does not compile here, and belongs into [`replies`].
fn name_of_reply(reply: &PeerReply) -> &'static str {
    match reply {
        PeerReply::Vote(_) => "vote",
        PeerReply::Append(_) => "append",
        PeerReply::Snapshot(_) => "snapshot",
        PeerReply::TransferLeader(_) => "transfer leader",
        PeerReply::Proposed(_) => "proposed",
        PeerReply::ReadIndex(_) => "read index",
        PeerReply::Joined(_) => "joined",
        PeerReply::Pong { .. } => "pong",
        PeerReply::Noted => "noted",
        PeerReply::Probed(_) => "probed",
        PeerReply::Heartbeat(_) => "heartbeat",
        PeerReply::StartSeen(_) => "start seen",
        PeerReply::NotReady => "not ready",
        PeerReply::Busy => "busy",
        PeerReply::Unsupported => "unsupported",
    }
}

fn raft_replies() -> Vec<PeerReply> {
    let vote = Vote::new(4, 2);
    let why = || "raft does not run".to_owned();
    vec![
        PeerReply::Vote(Ok(VoteResponse::new(vote, Some(id(300)), true))),
        PeerReply::Vote(Err(why())),
        PeerReply::Append(Ok(AppendEntriesResponse::Success)),
        PeerReply::Append(Ok(AppendEntriesResponse::PartialSuccess(Some(id(301))))),
        PeerReply::Append(Ok(AppendEntriesResponse::Conflict)),
        PeerReply::Append(Ok(AppendEntriesResponse::HigherVote(vote))),
        PeerReply::Append(Err(why())),
        PeerReply::Snapshot(Ok(SnapshotResponse::new(vote))),
        PeerReply::Snapshot(Err(why())),
        PeerReply::TransferLeader(Ok(())),
        PeerReply::TransferLeader(Err(why())),
    ]
}

fn refusals() -> Vec<Refused> {
    let storage = StorageId(1);
    let name = || "users".to_owned();
    vec![
        Refused::NotFounded,
        Refused::AlreadyFounded {
            cluster: ClusterId(0xc1),
        },
        Refused::StaleAssignment {
            epoch: Epoch(3),
            version: AssignmentVersion(4),
        },
        Refused::StaleDecision {
            made: MadeUnder {
                term: 3,
                map_version: MapVersion(12),
            },
            term: 4,
            version: MapVersion(13),
        },
        Refused::StaleIncarnation {
            storage,
            current: Incarnation(3),
            given: Incarnation(2),
        },
        Refused::OlderDirectory { storage },
        Refused::DeadIncarnation {
            storage,
            incarnation: Incarnation(2),
        },
        Refused::NotPrimary {
            primary: Some(Office {
                member: storage,
                incarnation: Incarnation(2),
            }),
        },
        Refused::RetiredStorage { storage },
        Refused::NameTaken {
            name: name(),
            holder: storage,
        },
        Refused::UnknownMember { storage },
        Refused::NotUp { storage },
        Refused::ImpossibleState {
            storage,
            from: MemberState::Down,
            to: MemberState::Up,
        },
        Refused::StillInUse {
            storage,
            partitions: 5,
        },
        Refused::UnknownTable { name: name() },
        Refused::UnknownPartition {
            partition: partition(),
        },
        Refused::TableExists {
            name: name(),
            table: TableId(7),
        },
        Refused::TableExistsDifferently { name: name() },
        Refused::Invalid {
            field: "replicas".to_owned(),
            expected: "1 to 7".to_owned(),
        },
        Refused::TooMany {
            what: "tables".to_owned(),
            limit: 5,
        },
        Refused::Unsupported {
            what: "that".to_owned(),
        },
        Refused::RuleBroken {
            rule: Rule::MinInSyncKept,
            partition: partition(),
        },
    ]
}

fn heartbeat_answer() -> HeartbeatAnswer {
    let progress = |stopped: Option<String>| PartitionProgress {
        partition: partition(),
        epoch: Epoch(2),
        end: 300,
        stopped,
    };
    let stopped = [None, Some("it differs".to_owned())];
    HeartbeatAnswer {
        incarnation: Incarnation(2),
        oldest_sync_ms: 1,
        oldest_apply_ms: 2,
        resources: Blob(vec![1, 2]),
        partitions: stopped.into_iter().map(progress).collect(),
        full: true,
        leaving: true,
        wall_ms: 1_700_000_000_000,
    }
}

fn replies() -> Vec<PeerReply> {
    let applied = Applied {
        map_version: MapVersion(12),
        skipped: vec![(partition(), Refused::NotFounded)],
        skipped_members: vec![(StorageId(1), Refused::NotFounded)],
        table: Some(TableId(7)),
        decision: Some(5),
    };
    let refused = refusals().into_iter().map(ProposeReply::Refused);
    let proposed = [
        ProposeReply::Applied(applied),
        ProposeReply::NotController,
        ProposeReply::OutcomeUnknown,
    ];
    let joined = [
        JoinReply::Member {
            cluster: ClusterId(0xc1),
        },
        JoinReply::Refused(Refused::NotFounded),
        JoinReply::TryAgain {
            reason: "no controller".to_owned(),
        },
    ];
    let incarnation = Incarnation(2);
    let probes = [
        ProbeReply::Refused,
        ProbeReply::Alive { incarnation },
        ProbeReply::Unknown,
    ];
    let mut replies = raft_replies();
    replies.extend(proposed.into_iter().chain(refused).map(PeerReply::Proposed));
    replies.extend([Some(300), None].map(PeerReply::ReadIndex));
    replies.extend(joined.map(PeerReply::Joined));
    replies.extend(probes.map(PeerReply::Probed));
    replies.extend([
        PeerReply::Pong {
            last_log: Some(id(300)),
            hears: vec![StorageId(1), StorageId(1 << 60)],
            left: false,
        },
        PeerReply::Noted,
        PeerReply::Heartbeat(heartbeat_answer()),
        PeerReply::StartSeen(SeenStart {
            map_version: MapVersion(12),
            older: Some("an older copy".to_owned()),
            behind: None,
            needed: Some("the last one".to_owned()),
        }),
        PeerReply::NotReady,
        PeerReply::Busy,
        PeerReply::Unsupported,
    ]);
    replies
}

fn frame(kind: Kind, body: Option<bytes::Bytes>) -> String {
    let envelope = Envelope {
        kind,
        correlation: 0x0102,
        body: body.expect("a message is small"),
    };
    let mut frame = BytesMut::new();
    envelope.put(&mut frame);
    hex(&frame)
}

fn control() -> Vec<String> {
    let requests = requests().into_iter().map(|request| {
        let frame = frame(Kind::Request, encode_body(&request));
        format!("request, {}: {frame}\n", name_of_request(&request))
    });
    let replies = replies().into_iter().map(|reply| {
        let frame = frame(Kind::Reply, encode_body(&reply));
        format!("reply, {}: {frame}\n", name_of_reply(&reply))
    });
    requests.chain(replies).collect()
}

const CONTROL: Golden<'_> = Golden {
    format: "requests and answers on control connections",
    number: "WIRE_FORMAT, unless a field was added that has a default",
    file: "control-wire-3.txt",
    text: include_str!("../../testdata/control-wire-3.txt"),
};

#[test]
fn the_bytes_of_control_connections_do_not_change() {
    CONTROL.check(&control().concat());
}

/// The message in a line of a golden file, as it is shown.
fn shown<T: DeserializeOwned + std::fmt::Debug>(line: &str) -> String {
    let (name, frame) = line.split_once(": ").unwrap();
    let frame = bytes(frame);
    let envelope = Envelope::read(BytesMut::from(&frame[4..])).unwrap();
    assert_eq!(envelope.correlation, 0x0102, "{name}");
    let message: Option<T> = decode_body(&envelope.body);
    format!(
        "{:?}",
        message.unwrap_or_else(|| panic!("{name} cannot be read"))
    )
}

#[test]
fn requests_and_answers_of_an_older_version_are_read() {
    let mut lines = CONTROL.text.lines();
    for request in requests() {
        let line = lines.next().unwrap();
        assert_eq!(shown::<PeerRequest>(line), format!("{request:?}"));
    }
    for reply in replies() {
        let line = lines.next().unwrap();
        assert_eq!(shown::<PeerReply>(line), format!("{reply:?}"));
    }
    assert_eq!(lines.next(), None);
}

fn greetings() -> Vec<(String, Greeting)> {
    let purposes = [
        Purpose::Control,
        Purpose::Data,
        Purpose::Probe,
        Purpose::Consult,
    ];
    let hello = |purpose: Purpose| {
        let hello = Hello {
            format: 2,
            cluster: (purpose != Purpose::Consult).then_some(ClusterId(0xc1)),
            identity: Identity {
                storage: StorageId(1 << 60),
                incarnation: Incarnation(2),
                boot: 5,
                name: "n1".to_owned(),
                http_address: "a:1".to_owned(),
                peer_address: "a:2".to_owned(),
            },
            purpose,
        };
        (format!("hello, {purpose:?}"), Greeting::Hello(hello))
    };
    let refused = Greeting::Refused {
        reason: "another cluster".to_owned(),
        cluster: Some(ClusterId(0xc2)),
    };
    let hellos = purposes.into_iter().map(hello);
    hellos.chain([("refused".to_owned(), refused)]).collect()
}

#[test]
fn the_bytes_of_a_greeting_do_not_change_and_those_of_an_older_version_are_read() {
    let line = |(name, greeting): &(String, Greeting)| {
        format!("{name}: {}\n", hex(&encode_frame(greeting).unwrap()))
    };
    let golden = Golden {
        format: "the greeting of connections between nodes",
        number: "WIRE_FORMAT, unless a field was added that has a default",
        file: "greeting-wire-2.txt",
        text: include_str!("../../testdata/greeting-wire-2.txt"),
    };
    golden.check(&greetings().iter().map(line).collect::<String>());
    for (line, (name, greeting)) in golden.text.lines().zip(greetings()) {
        let frame = bytes(line.split_once(": ").unwrap().1);
        let old: Greeting = rmp_serde::from_slice(&frame[4..]).unwrap();
        assert_eq!(format!("{old:?}"), format!("{greeting:?}"), "{name}");
    }
}
