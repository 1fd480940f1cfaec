//! A node in memory: one copy of every row, every answer at once, and failures on demand.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use serde_json::json;
use tablestore_contract::Resources;
use tablestore_node::api::{
    BatchItem, Consistency, PartitionChecksums, RequestContext, RequestError, Row, RowKey,
    ScanPage, ScanRequest, Served, TableAltered, TableChange, TableTarget, WriteReply,
};
use tablestore_node::http::{Administration, Backend, Event, RowService, Standing, Timeline};
use tablestore_node::metrics::Metrics;
use tablestore_placement::explain::{self, Explanation};
use tablestore_placement::{
    Alteration, Assignment, AssignmentVersion, ClusterId, ClusterMap, Command, Decision,
    DecisionKind, Epoch, Incarnation, MapVersion, Member, MemberState, Office, PartitionId,
    Refused, StorageId, Strategies, Table, TableDefinition, TableId,
};
use tablestore_store::item::codec;
use tablestore_store::{Condition, Effect, Item, Mutation, key};
use tokio::sync::{Notify, broadcast};
use tokio::time::Instant;

/// The members: n1 is asked, n2 holds every office.
pub const N1: StorageId = StorageId(0xa1);
pub const N2: StorageId = StorageId(0xa2);

type Rows = BTreeMap<Vec<u8>, (u64, Item)>;

#[derive(Debug)]
struct State {
    map: Arc<ClusterMap>,
    /// What a linearizable read of the map would show, if it is newer.
    newer: Option<Arc<ClusterMap>>,
    rows: BTreeMap<TableId, Rows>,
    version: u64,
    remembered: HashMap<u128, (Mutation, WriteReply)>,
    failures: VecDeque<RequestError>,
    ready: Result<(), String>,
    contexts: Vec<RequestContext>,
    consistencies: Vec<Consistency>,
    past: Vec<Arc<Event>>,
}

/// See the module.
#[derive(Debug, Clone)]
pub struct Fake {
    state: Arc<Mutex<State>>,
    metrics: Arc<Metrics>,
    events: broadcast::Sender<Arc<Event>>,
    /// Reads wait for it while it is held.
    pub gate: Arc<tokio::sync::RwLock<()>>,
    /// Told when a read has arrived.
    pub arrived: Arc<Notify>,
}

fn member(storage: StorageId, name: &str) -> Member {
    Member {
        storage,
        name: name.to_owned(),
        http_address: format!("127.0.0.1:{}", storage.0),
        peer_address: format!("127.0.0.1:1{}", storage.0),
        zone: "r/z".to_owned(),
        weight: 1,
        start: 0,
        incarnation: Incarnation(3),
        boot: 1,
        state: MemberState::Up,
        since_ms: 5,
        replaced_by: None,
        drains: false,
    }
}

impl Fake {
    pub fn new() -> Self {
        let mut map = ClusterMap::empty();
        map.cluster = ClusterId(7);
        map.version = MapVersion(11);
        for (storage, name) in [(N1, "n1"), (N2, "n2")] {
            map.members.insert(storage, member(storage, name));
        }
        let mut decision = Decision::new(DecisionKind::Founded, 5).because("it was time");
        decision.id = 1;
        map.decisions
            .push_back(Arc::new(decision.phase("asked", 4)));
        let mut decision = Decision::new(DecisionKind::Failover, 9)
            .about(N1)
            .on_evidence("gone");
        decision.id = 2;
        map.decisions.push_back(Arc::new(decision));
        let state = State {
            map: Arc::new(map),
            newer: None,
            rows: BTreeMap::new(),
            version: 100,
            remembered: HashMap::new(),
            failures: VecDeque::new(),
            ready: Ok(()),
            contexts: Vec::new(),
            consistencies: Vec::new(),
            past: Vec::new(),
        };
        Self {
            state: Arc::new(Mutex::new(state)),
            metrics: Arc::default(),
            events: broadcast::channel(4).0,
            gate: Arc::default(),
            arrived: Arc::default(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state
            .lock()
            .expect("no test panics while it holds this")
    }

    /// The next operation on rows or tables fails like this.
    pub fn fail(&self, error: RequestError) {
        self.state().failures.push_back(error);
    }

    pub fn set_ready(&self, ready: Result<(), String>) {
        self.state().ready = ready;
    }

    /// The context of the last operation.
    pub fn last_context(&self) -> RequestContext {
        *self.state().contexts.last().expect("something was asked")
    }

    pub fn last_consistency(&self) -> Consistency {
        *self
            .state()
            .consistencies
            .last()
            .expect("something was read")
    }

    /// From now on only a linearizable read of the map shows the tables made so far.
    pub fn hide_tables(&self) {
        let mut state = self.state();
        state.newer = Some(Arc::clone(&state.map));
        let mut map = ClusterMap::clone(&state.map);
        map.tables.clear();
        state.map = Arc::new(map);
    }

    fn set_state(&self, name: &str, becomes: MemberState) -> Result<(), RequestError> {
        let mut state = self.state();
        let mut map = ClusterMap::clone(&state.map);
        let Some(storage) = map.member_named(name).map(|member| member.storage) else {
            let name = name.to_owned();
            return Err(RequestError::UnknownNode { name });
        };
        map.members.get_mut(&storage).expect("it was found").state = becomes;
        state.map = Arc::new(map);
        Ok(())
    }

    /// Something happens.
    pub fn emit(&self, id: u64, kind: &str) {
        let event = Arc::new(Event {
            id,
            at_ms: 1_000 + id,
            at_us: (1_000 + id) * 1_000 + 7,
            kind: kind.to_owned(),
            node: Some("n1".to_owned()),
            table: None,
            partition: None,
            detail: json!({ "why": "a\nb" }),
        });
        self.state().past.push(Arc::clone(&event));
        let _ = self.events.send(event);
    }

    /// Who would answer for a row: the partition is the length of its key, modulo.
    fn served(state: &State, table: TableId, key: &[u8]) -> Served {
        let found = state.map.tables.get(&table);
        let found = found.or_else(|| state.newer.as_ref()?.tables.get(&table));
        let partitions = found.map_or(1, |found| found.definition.partitions);
        let partition = PartitionId::new(table, key.len() as u32 % partitions);
        Served {
            by: N2,
            partition,
            epoch: Epoch(4),
        }
    }

    fn begin(state: &mut State, context: Option<RequestContext>) -> Result<(), RequestError> {
        state.contexts.extend(context);
        state.failures.pop_front().map_or(Ok(()), Err)
    }
}

fn version_of(rows: &Rows, key: &[u8]) -> u64 {
    rows.get(key).map_or(0, |(version, _)| *version)
}

fn holds(condition: Condition, now: u64) -> bool {
    match condition {
        Condition::None => true,
        Condition::IfVersion(version) => now == version,
        Condition::IfAbsent => now == 0,
        Condition::IfPresent => now != 0,
    }
}

/// What the state machine answers: effect and version.
fn apply(rows: &mut Rows, index: u64, mutation: Mutation) -> (Effect, u64) {
    let (key, condition) = match &mutation {
        Mutation::Put { key, condition, .. }
        | Mutation::Patch { key, condition, .. }
        | Mutation::Delete { key, condition } => (key.clone(), *condition),
    };
    let now = version_of(rows, &key);
    if !holds(condition, now) {
        return (Effect::ConditionFailed, now);
    }
    match mutation {
        Mutation::Put { item, .. } => {
            rows.insert(key, (index, item));
        }
        Mutation::Patch { set, remove, .. } => {
            let row = rows.entry(key).or_default();
            row.0 = index;
            remove.iter().for_each(|name| drop(row.1.remove(name)));
            row.1.extend(set);
            if row.1.len() > 50 {
                return (Effect::TooLarge, now);
            }
        }
        Mutation::Delete { .. } if now == 0 => return (Effect::Absent, 0),
        Mutation::Delete { .. } => {
            rows.remove(&key);
            return (Effect::Done, 0);
        }
    }
    (Effect::Done, index)
}

fn write(
    state: &mut State,
    table: TableId,
    mutation: Mutation,
    request: Option<u128>,
) -> Result<WriteReply, RequestError> {
    if let Some((before, reply)) = request.and_then(|id| state.remembered.get(&id)) {
        return match *before == mutation {
            true => Ok(WriteReply {
                repeated: true,
                ..reply.clone()
            }),
            false => Err(RequestError::RequestMismatch),
        };
    }
    state.version += 1;
    let index = state.version;
    let key = match &mutation {
        Mutation::Put { key, .. } | Mutation::Patch { key, .. } | Mutation::Delete { key, .. } => {
            key.clone()
        }
    };
    let (effect, version) = apply(
        state.rows.entry(table).or_default(),
        index,
        mutation.clone(),
    );
    let served = Fake::served(state, table, &key);
    let reply = WriteReply {
        effect: Some(effect),
        version,
        repeated: false,
        served,
    };
    if let Some(id) = request {
        state.remembered.insert(id, (mutation, reply.clone()));
    }
    Ok(reply)
}

impl Backend for Fake {
    fn me(&self) -> StorageId {
        N1
    }

    fn map(&self) -> Arc<ClusterMap> {
        Arc::clone(&self.state().map)
    }

    fn standing(&self) -> Standing {
        Standing {
            controller: Some(N2),
            voters: vec![N2],
            ..Standing::default()
        }
    }

    fn resources(&self, member: StorageId) -> Option<Resources> {
        (member == N1).then(|| Resources {
            level: "ok".to_owned(),
            ..Resources::default()
        })
    }

    fn ready(&self) -> Result<(), String> {
        self.state().ready.clone()
    }

    fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    async fn measure(&self) {}
}

impl Timeline for Fake {
    fn events(&self) -> broadcast::Receiver<Arc<Event>> {
        self.events.subscribe()
    }

    fn events_after(&self, id: u64) -> Vec<Arc<Event>> {
        self.state()
            .past
            .iter()
            .filter(|event| event.id > id)
            .cloned()
            .collect()
    }
}

impl Administration for Fake {
    fn explain(&self, if_fails: &[String]) -> Result<Explanation, RequestError> {
        let map = self.map();
        let member = |name: &String| match map.member_named(name) {
            Some(member) => Ok(member.storage),
            None => Err(RequestError::UnknownNode { name: name.clone() }),
        };
        let failed: Result<Vec<StorageId>, RequestError> = if_fails.iter().map(member).collect();
        Ok(explain::if_fails(
            &Strategies::built_in(),
            &map,
            &[N2],
            &failed?,
        ))
    }

    async fn fresh_map(&self, _: Instant) -> Result<Arc<ClusterMap>, RequestError> {
        let mut state = self.state();
        Self::begin(&mut state, None)?;
        Ok(Arc::clone(state.newer.as_ref().unwrap_or(&state.map)))
    }

    async fn create_table(
        &self,
        name: &str,
        definition: TableDefinition,
        _: Instant,
    ) -> Result<TableChange, RequestError> {
        let mut state = self.state();
        Self::begin(&mut state, None)?;
        if let Some(table) = state.map.table_named(name) {
            if table.definition == definition {
                return Ok(TableChange {
                    created: false,
                    table: table.clone(),
                });
            }
            let (name, difference) = (name.to_owned(), "replicas".to_owned());
            return Err(RequestError::TableExists { name, difference });
        }
        let mut map = ClusterMap::clone(&state.map);
        let id = TableId(map.next_table);
        map.next_table += 1;
        let assignment = Assignment {
            epoch: Epoch(4),
            version: AssignmentVersion(6),
            primary: Some(Office {
                member: N2,
                incarnation: Incarnation(3),
            }),
            replicas: vec![N2, N1],
            in_sync: vec![N2],
        };
        let partitions = vec![assignment; definition.partitions as usize];
        let table = Table {
            id,
            name: name.to_owned(),
            definition,
            partitions,
            founded: None,
        };
        map.tables.insert(id, table.clone());
        state.map = Arc::new(map);
        Ok(TableChange {
            created: true,
            table,
        })
    }

    async fn alter_table(
        &self,
        name: &str,
        alteration: Alteration,
        _: Instant,
    ) -> Result<TableAltered, RequestError> {
        let mut state = self.state();
        Self::begin(&mut state, None)?;
        let mut map = ClusterMap::clone(&state.map);
        let command = Command::AlterTable {
            name: name.to_owned(),
            alteration,
            leaving: Vec::new(),
            at_ms: 7,
        };
        let applied = map.apply(&command).map_err(|refused| match refused {
            Refused::UnknownTable { name } => RequestError::UnknownTable { name },
            Refused::Invalid { field, expected } => RequestError::Invalid {
                field,
                expected,
                got: "another value".to_owned(),
            },
            refused => RequestError::Conflict {
                reason: refused.to_string(),
            },
        })?;
        let table = map.table_named(name).expect("it was altered").clone();
        state.map = Arc::new(map);
        let in_sync = table.partitions.iter().map(|one| one.in_sync.len());
        let below = in_sync.filter(|count| *count < table.definition.min_in_sync as usize);
        Ok(TableAltered {
            changed: applied.decision.is_some(),
            below_min_in_sync: u32::try_from(below.count()).expect("few"),
            table,
        })
    }

    async fn drop_table(&self, name: &str, _: Instant) -> Result<(), RequestError> {
        let mut state = self.state();
        Self::begin(&mut state, None)?;
        let mut map = ClusterMap::clone(&state.map);
        let Some(id) = map.table_named(name).map(|table| table.id) else {
            return Err(RequestError::UnknownTable {
                name: name.to_owned(),
            });
        };
        map.tables.remove(&id);
        state.rows.remove(&id);
        state.map = Arc::new(map);
        Ok(())
    }

    async fn drain_node(&self, name: &str, _: Instant) -> Result<(), RequestError> {
        self.set_state(name, MemberState::Draining)
    }

    async fn undrain_node(&self, name: &str, _: Instant) -> Result<(), RequestError> {
        self.set_state(name, MemberState::Up)
    }

    async fn remove_node(&self, name: &str, _: Instant) -> Result<(), RequestError> {
        match name {
            "n1" => Err(RequestError::Conflict {
                reason: "n1 holds in-sync places".to_owned(),
            }),
            "n2" => Ok(()),
            _ => Err(RequestError::UnknownNode {
                name: name.to_owned(),
            }),
        }
    }
}

impl RowService for Fake {
    async fn write(
        &self,
        table: TableTarget,
        key: RowKey,
        mutation: Mutation,
        context: RequestContext,
    ) -> Result<WriteReply, RequestError> {
        let encoded = key::encode_row_key(&key.partition, key.sort.as_ref());
        assert_eq!(Mutation::key_of(&mutation.encode()), Ok(&*encoded));
        let mut state = self.state();
        Self::begin(&mut state, Some(context))?;
        write(&mut state, table.id(), mutation, context.request)
    }

    async fn get(
        &self,
        table: TableTarget,
        key: RowKey,
        consistency: Consistency,
        context: RequestContext,
    ) -> Result<(Option<Row>, Served), RequestError> {
        self.arrived.notify_one();
        let _open = self.gate.read().await;
        let mut state = self.state();
        Self::begin(&mut state, Some(context))?;
        state.consistencies.push(consistency);
        let key = key::encode_row_key(&key.partition, key.sort.as_ref());
        let row = state.rows.get(&table.id()).and_then(|rows| rows.get(&key));
        Ok((row.map(stored), Self::served(&state, table.id(), &key)))
    }

    async fn scan(
        &self,
        table: TableTarget,
        scan: ScanRequest,
        context: RequestContext,
    ) -> Result<ScanPage, RequestError> {
        let mut state = self.state();
        Self::begin(&mut state, Some(context))?;
        state.consistencies.push(scan.consistency);
        let inside = |encoded: &[u8]| {
            let (partition, sort) = key::decode_row_key(encoded).expect("rows have keys");
            scan.partition_key
                .as_ref()
                .is_none_or(|wanted| partition == *wanted)
                && (scan.from.is_none() || sort >= scan.from)
                && (scan.to.is_none() || sort <= scan.to)
        };
        let mut rows: Vec<(Vec<u8>, Row)> = state
            .rows
            .get(&table.id())
            .into_iter()
            .flatten()
            .filter(|(encoded, _)| inside(encoded))
            .map(|(encoded, row)| (encoded.clone(), stored(row)))
            .collect();
        if scan.reverse {
            rows.reverse();
        }
        if let Some((_, behind)) = &scan.cursor {
            let at = rows.iter().position(|(encoded, _)| encoded == behind);
            rows.drain(..=at.expect("the cursor is of a row that is still there"));
        }
        let more = rows.len() > scan.limit;
        rows.truncate(scan.limit);
        let next = rows
            .last()
            .filter(|_| more)
            .map(|(encoded, _)| (0, encoded.clone()));
        Ok(ScanPage { rows, next })
    }

    async fn batch(
        &self,
        table: TableTarget,
        items: Vec<BatchItem>,
        context: RequestContext,
    ) -> Vec<Result<WriteReply, RequestError>> {
        let mut state = self.state();
        state.contexts.push(context);
        (0u128..)
            .zip(items)
            .map(|(position, item)| {
                Self::begin(&mut state, None)?;
                let request = context.request.map(|id| id.wrapping_add(position));
                write(&mut state, table.id(), item.mutation, request)
            })
            .collect()
    }

    async fn checksums(
        &self,
        table: TableTarget,
        context: RequestContext,
    ) -> Result<Vec<PartitionChecksums>, RequestError> {
        let mut state = self.state();
        Self::begin(&mut state, Some(context))?;
        Ok(vec![PartitionChecksums {
            partition: PartitionId::new(table.id(), 0),
            index: 17,
            replicas: vec![(N1, Ok(255)), (N2, Err("no answer".to_owned()))],
            equal: false,
        }])
    }
}

fn stored((version, item): &(u64, Item)) -> Row {
    let mut out = Vec::new();
    codec::encode_item(item, &mut out);
    Row {
        version: *version,
        item: Bytes::from(out),
    }
}
