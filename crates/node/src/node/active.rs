//! Rows of active tables: this node coordinates, whoever has the copies, so that a request goes to
//! no other node. Knows nothing of versions and of how replicas are asked.

use tablestore_dataplane::{ActiveRequest, Answer, PlaneEvent};
use tablestore_placement::{PARTITION, PRIMARY_BACKUP, PartitionId};
use tablestore_replication::active::Quorum;
use tablestore_store::{Effect, Mutation};
use tokio::sync::oneshot;

use super::target::encoded;
use super::{Node, answer_of, split, unexpected};
use crate::api::{
    Consistency, NotAppliedReason, RequestContext, RequestError, Row, RowKey, Served, TableTarget,
    WriteReply,
};
use crate::data::DataEvent;

impl Node {
    pub(super) async fn write_active(
        &self,
        table: TableTarget,
        row: &RowKey,
        mutation: &Mutation,
        context: RequestContext,
    ) -> Result<WriteReply, RequestError> {
        let quorum = quorum("w", table, context)?.unwrap_or(Quorum::Majority);
        let Some(request) = ActiveRequest::write(mutation.clone(), quorum) else {
            table.needs_order("a condition")?;
            return Err(unexpected());
        };
        let partition = table.partition_of(&row.partition);
        let late = RequestError::unknown(Some(partition));
        match self.ask_here(partition, request, context, late).await? {
            (Answer::Written { code, version, .. }, served) => Ok(WriteReply {
                effect: Effect::of_number(code),
                version,
                repeated: false,
                served,
            }),
            _ => Err(unexpected()),
        }
    }

    pub(super) async fn get_active(
        &self,
        table: TableTarget,
        row: &RowKey,
        consistency: Consistency,
        context: RequestContext,
    ) -> Result<(Option<Row>, Served), RequestError> {
        let strong = consistency == Consistency::Strong;
        let wanted = quorum("r", table, context)?;
        if strong && wanted.is_some() {
            return Err(RequestError::Invalid {
                field: "r".to_owned(),
                expected: "none with consistency strong, which reads a majority".to_owned(),
                got: "both".to_owned(),
            });
        }
        let nearest = if strong {
            Quorum::Majority
        } else {
            Quorum::Count(1)
        };
        let request = ActiveRequest::Read {
            key: encoded(row).into(),
            quorum: wanted.unwrap_or(nearest),
            strong,
        };
        let partition = table.partition_of(&row.partition);
        let late = RequestError::NotApplied {
            reason: NotAppliedReason::Deadline,
            partition: Some(partition),
        };
        match self.ask_here(partition, request, context, late).await? {
            (Answer::Row(row), served) => Ok((row.map(split).transpose()?, served)),
            _ => Err(unexpected()),
        }
    }

    /// Hands a request to the data thread and waits for its reply, at most until the deadline.
    async fn ask_here(
        &self,
        partition: PartitionId,
        request: ActiveRequest,
        context: RequestContext,
        late: RequestError,
    ) -> Result<(Answer, Served), RequestError> {
        let (waiter, reply) = oneshot::channel();
        let asked = PlaneEvent::Active {
            partition,
            request,
            waiter,
        };
        self.offer(partition, DataEvent::Plane(asked))?;
        let answered = tokio::time::timeout_at(context.deadline, reply).await;
        let Ok(Ok((by, reply))) = answered else {
            return Err(late);
        };
        answer_of(partition, by, reply)
    }
}

/// The quorum that the client asks for, if it does.
fn quorum(
    field: &'static str,
    table: TableTarget,
    context: RequestContext,
) -> Result<Option<Quorum>, RequestError> {
    match context.quorum {
        None => Ok(None),
        Some(count) if (1..=table.replicas).contains(&count) => Ok(Some(Quorum::Count(count))),
        Some(count) => Err(RequestError::Invalid {
            field: field.to_owned(),
            expected: format!("from 1 to the table's replicas, {}", table.replicas),
            got: count.to_string(),
        }),
    }
}

/// Tables with a primary have one quorum for all requests, and those on shared storage have none.
pub(super) fn refuse_quorum(
    what: &'static str,
    table: TableTarget,
    context: RequestContext,
) -> Result<(), RequestError> {
    if context.quorum.is_none() {
        return Ok(());
    }
    let (strategy, remedy) = if table.data_path.has_copies() {
        (
            PRIMARY_BACKUP,
            "min_in_sync of the table, or consistency=eventual",
        )
    } else {
        (PARTITION, "none, or consistency=eventual")
    };
    Err(RequestError::UnsupportedByStrategy {
        strategy,
        what,
        remedy,
    })
}
