//! Changes of the map that a client asks for: tables, draining and removing nodes.

use tablestore_consensus::ProposeError;
use tablestore_dataplane::{Answer, Operation};
use tablestore_placement::{
    Change, Command, Decision, DecisionKind, MemberState, PartitionId, Refused, StorageId,
    TableDefinition, plan,
};
use tokio::time::Instant;

use super::{Node, wall_ms};
use crate::api::{PartitionChecksums, RequestContext, RequestError, TableChange, TableTarget};

/// How often a table is planned anew when the map has changed meanwhile.
const PLANS_MAX: u32 = 5;

impl Node {
    /// Creates a table.
    ///
    /// # Errors
    /// `TableExists` with another definition, `Invalid` with the field, `NoController`.
    pub async fn create_table(
        &self,
        name: &str,
        definition: TableDefinition,
        deadline: Instant,
    ) -> Result<TableChange, RequestError> {
        let is_shared = !definition.data_path().has_copies();
        if is_shared {
            self.has_shared(&definition.strategy)?;
        }
        let strategy = self.shared.strategies.named(&definition.strategy);
        let planned = strategy.map(|strategy| strategy.data_path());
        if planned.is_ok_and(|path| path != definition.data_path()) {
            return Err(RequestError::Unsupported {
                what: "a strategy under a name that stands for another data path".to_owned(),
            });
        }
        let created = match self.propose_table(name, &definition, deadline).await? {
            Ok(()) => true,
            Err(ProposeError::Refused(Refused::TableExists { .. })) => false,
            Err(ProposeError::Refused(Refused::TableExistsDifferently { .. })) => {
                let map = self.map();
                let difference = map
                    .table_named(name)
                    .map_or_else(String::new, |table| differs(&table.definition, &definition));
                return Err(RequestError::TableExists {
                    name: name.to_owned(),
                    difference,
                });
            }
            Err(error) => return Err(error.into()),
        };
        let map = self.fresh(deadline).await?;
        match map.table_named(name) {
            Some(table) => {
                if is_shared {
                    self.founded(&map, table, deadline).await?;
                }
                Ok(TableChange {
                    created,
                    table: table.clone(),
                })
            }
            None => Err(RequestError::UnknownTable {
                name: name.to_owned(),
            }),
        }
    }

    /// Plans the partitions of a table and proposes it; anew in a newer map if a member died or
    /// left between the plan and its turn.
    async fn propose_table(
        &self,
        name: &str,
        definition: &TableDefinition,
        deadline: Instant,
    ) -> Result<Result<(), ProposeError>, RequestError> {
        let mut map = self.map();
        for plans_left in (0..PLANS_MAX).rev() {
            let planned = plan::initial(&self.shared.strategies, &map, definition);
            let assignments = planned.map_err(|unknown| RequestError::Invalid {
                field: "strategy".to_owned(),
                expected: self
                    .shared
                    .strategies
                    .names()
                    .collect::<Vec<_>>()
                    .join(", "),
                got: unknown.name,
            })?;
            let command = Command::CreateTable {
                name: name.to_owned(),
                definition: definition.clone(),
                assignments,
                at_ms: wall_ms(),
            };
            let proposed = self.propose(command, deadline).await;
            let is_outdated =
                |refused: &Refused| matches!(refused, Refused::RuleBroken { .. }) && plans_left > 0;
            match proposed {
                Err(ProposeError::Refused(refused)) if is_outdated(&refused) => {
                    let newer = self.fresh(deadline).await?;
                    if newer.version == map.version {
                        return Ok(Err(ProposeError::Refused(refused)));
                    }
                    map = newer;
                }
                done => return Ok(done),
            }
        }
        Err(RequestError::NoController)
    }

    /// Drops a table with its rows. Whoever asks this node afterwards does not find it.
    ///
    /// # Errors
    /// `UnknownTable`, `NoController`; `OutcomeUnknown` also if it is dropped and this node has not
    /// seen it in time.
    pub async fn drop_table(&self, name: &str, deadline: Instant) -> Result<(), RequestError> {
        let command = Command::DropTable {
            name: name.to_owned(),
            at_ms: wall_ms(),
        };
        let consensus = &self.shared.consensus;
        let applied = consensus.propose_until(command, deadline).await?;
        let mut maps = consensus.watch_map();
        let seen = maps.wait_for(|map| map.version >= applied.map_version);
        match tokio::time::timeout_at(deadline, seen).await {
            Ok(Ok(_)) => {
                self.clear_shared_soon();
                Ok(())
            }
            Ok(Err(_)) | Err(_) => Err(RequestError::unknown(None)),
        }
    }

    /// Begins to move everything off a node.
    ///
    /// # Errors
    /// `UnknownNode`, `Conflict`, `NoController`.
    pub async fn drain_node(&self, name: &str, deadline: Instant) -> Result<(), RequestError> {
        let (map, storage) = self.member(name)?;
        let decision = Decision::new(DecisionKind::Drain, wall_ms())
            .about(storage)
            .because("asked for by an operator");
        let mut change =
            plan::move_offices_off(&self.shared.strategies, &map, storage).into_change(decision);
        let incarnation = map.members[&storage].incarnation;
        change
            .members
            .push((storage, incarnation, MemberState::Draining));
        Ok(self.propose(Command::Change(change), deadline).await?)
    }

    /// Calls the drain of a node off: it may take offices and replicas again. Nothing is to be done
    /// for a node that does not drain.
    ///
    /// # Errors
    /// `UnknownNode`, `Conflict` if it is down, `NoController`.
    pub async fn undrain_node(&self, name: &str, deadline: Instant) -> Result<(), RequestError> {
        self.fresh(deadline).await?;
        let (map, storage) = self.member(name)?;
        let member = &map.members[&storage];
        match member.state {
            MemberState::Draining => {}
            MemberState::Up | MemberState::Suspect => return Ok(()),
            _ => {
                return Err(RequestError::Conflict {
                    reason: format!("{name} is down: call its drain off when it has started again"),
                });
            }
        }
        let decision = Decision::new(DecisionKind::Undrain, wall_ms())
            .about(storage)
            .because("asked for by an operator");
        let change = Change {
            decision,
            made_under: None,
            members: vec![(storage, member.incarnation, MemberState::Up)],
            assignments: Vec::new(),
        };
        Ok(self.propose(Command::Change(change), deadline).await?)
    }

    /// Removes a node for good.
    ///
    /// # Errors
    /// `UnknownNode`, `Conflict` while it holds replicas, `NoController`.
    pub async fn remove_node(&self, name: &str, deadline: Instant) -> Result<(), RequestError> {
        let (map, storage) = self.member(name)?;
        if self.shared.consensus.voters() == [storage] {
            let others = map.members.len() > 1;
            let help = match others {
                true => "wait a moment until another one votes as well",
                false => "stop it and delete its directory to give the cluster up",
            };
            let reason = format!("{name} is the last member that votes: {help}");
            return Err(RequestError::Conflict { reason });
        }
        let plan = plan::remove(&map, storage).map_err(|blocked| RequestError::Conflict {
            reason: blocked.to_string(),
        })?;
        let decision = Decision::new(DecisionKind::Left, wall_ms())
            .about(storage)
            .because("asked for by an operator");
        let change: Change = plan.into_change(decision);
        Ok(self.propose(Command::Change(change), deadline).await?)
    }

    /// Compares all replicas of a table, partition by partition.
    ///
    /// # Errors
    /// Why a partition did not answer.
    pub async fn checksums(
        &self,
        table: TableTarget,
        context: RequestContext,
    ) -> Result<Vec<PartitionChecksums>, RequestError> {
        table.needs_order("a checksum")?;
        table.needs_copies("a checksum")?;
        let mut all = Vec::new();
        for partition in 0..table.partitions {
            let partition = PartitionId {
                table: table.id,
                partition,
            };
            let (answer, _) = self.ask(partition, Operation::Checksum, context).await?;
            let Answer::Checksums { index, replicas } = answer else {
                return Err(super::unexpected());
            };
            let mut sums = replicas.iter().map(|(_, sum)| sum);
            let first = sums.next().cloned();
            let equal = matches!(first, Some(Ok(_)))
                && replicas.iter().all(|(_, sum)| Some(sum) == first.as_ref());
            let replicas = replicas
                .into_iter()
                .map(|(node, sum)| (StorageId(node), sum))
                .collect();
            all.push(PartitionChecksums {
                partition,
                index,
                replicas,
                equal,
            });
        }
        Ok(all)
    }

    fn member(
        &self,
        name: &str,
    ) -> Result<(std::sync::Arc<tablestore_placement::ClusterMap>, StorageId), RequestError> {
        let map = self.map();
        let storage = map
            .member_named(name)
            .map(|member| member.storage)
            .ok_or_else(|| RequestError::UnknownNode {
                name: name.to_owned(),
            })?;
        Ok((map, storage))
    }

    /// A linearizable read of the map.
    pub(super) async fn fresh(
        &self,
        deadline: Instant,
    ) -> Result<std::sync::Arc<tablestore_placement::ClusterMap>, RequestError> {
        match tokio::time::timeout_at(deadline, self.shared.consensus.read_index()).await {
            Ok(Ok(map)) => Ok(map),
            Ok(Err(_)) | Err(_) => Err(RequestError::NoController),
        }
    }

    async fn propose(&self, command: Command, deadline: Instant) -> Result<(), ProposeError> {
        let proposed = self.shared.consensus.propose_until(command, deadline);
        proposed.await.map(drop)
    }
}

/// Why a change of the map was not made.
impl From<ProposeError> for RequestError {
    fn from(error: ProposeError) -> Self {
        match error {
            ProposeError::NoController => Self::NoController,
            ProposeError::Refused(Refused::UnknownTable { name }) => Self::UnknownTable { name },
            ProposeError::Refused(Refused::Invalid { field, expected }) => Self::Invalid {
                field,
                expected,
                got: "another value".to_owned(),
            },
            ProposeError::Refused(Refused::Unsupported { what }) => Self::Unsupported { what },
            ProposeError::Refused(refused) => Self::Conflict {
                reason: refused.to_string(),
            },
            _ => Self::unknown(None),
        }
    }
}

/// Which fields of two definitions differ.
fn differs(there: &TableDefinition, asked: &TableDefinition) -> String {
    let fields = [
        ("partition_key", there.partition_key != asked.partition_key),
        ("sort_key", there.sort_key != asked.sort_key),
        ("strategy", there.strategy != asked.strategy),
        ("replicas", there.replicas != asked.replicas),
        ("min_in_sync", there.min_in_sync != asked.min_in_sync),
        ("partitions", there.partitions != asked.partitions),
        ("layout", there.layout != asked.layout),
    ];
    let differing: Vec<&str> = fields
        .into_iter()
        .filter(|(_, differs)| *differs)
        .map(|(name, _)| name)
        .collect();
    differing.join(", ")
}
