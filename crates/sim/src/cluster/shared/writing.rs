//! Writes of owners: they are carried out in groups, and answered when the object that carries them
//! is in the storage. Knows nothing of how an owner opened.

use bytes::Bytes;
use tablestore_dataplane::{Answer, Failure};
use tablestore_replication::RequestId;
use tablestore_store::Mutation;

use super::super::World;
use super::super::event::ClusterEvent;
use super::OwnerEvent;
use super::asking::Step;
use super::database::Ask;
use super::mutant::OwnerMutant;
use super::owner::{Answers, Staged, Write};

impl World {
    /// A write comes to an owner, behind those that came before.
    pub(super) fn owner_writes(
        &mut self,
        number: u64,
        ticket: u64,
        (request, digest, payload): (u128, u64, Bytes),
    ) {
        let queue_max = self.scenario.shared.as_ref().map(|plan| plan.queue_max);
        let Some(owner) = self.shared.owners.get_mut(&number) else {
            return;
        };
        let life = owner.life;
        let Ok(key) = Mutation::key_of(&payload).map(Bytes::copy_from_slice) else {
            return self.owner_answers(life, ticket, Err(Failure::Stopped));
        };
        if owner.queue.len() >= queue_max.unwrap_or(0) {
            self.took("owner: too many writes waited");
            return self.owner_answers(life, ticket, Err(Failure::Busy));
        }
        owner.queue.push_back(Write {
            ticket,
            request: RequestId(request),
            digest,
            key,
            payload,
        });
        if owner.inherited(RequestId(request)) {
            self.took("owner: knew a request of a former owner");
        }
        self.gather(number);
    }

    /// The next group is waited for, unless one is on its way.
    fn gather(&mut self, number: u64) {
        let gather_us = self.scenario.shared.as_ref().map(|plan| plan.gather_us);
        let Some(owner) = self.shared.owners.get_mut(&number) else {
            return;
        };
        if owner.queue.is_empty() || owner.group.is_some() || owner.is_gathering {
            return self.end_if_done(number);
        }
        owner.is_gathering = true;
        let event = ClusterEvent::Owner(owner.life, OwnerEvent::Gathered { owner: number });
        self.queue.push(self.now + gather_us.unwrap_or(0), event);
    }

    pub(super) fn gathered(&mut self, number: u64) {
        let most = self.scenario.shared.as_ref().map(|plan| plan.group_max);
        let is_early = self.has_owner_mutant(OwnerMutant::AcknowledgedBeforeStored);
        let Some((_, since_start)) = self.clock_of(number) else {
            return;
        };
        let Some(owner) = self.shared.owners.get_mut(&number) else {
            return;
        };
        owner.is_gathering = false;
        match owner.stage(since_start, most.unwrap_or(1)) {
            Ok(Staged::Answered(answers)) => {
                self.answer_all(number, answers);
                self.gather(number);
            }
            Ok(Staged::Batch(mut group)) => {
                let ask = Ask::Create {
                    number: owner.next,
                    batch: Some(std::sync::Arc::clone(&group.batch)),
                };
                let early = match is_early {
                    true => std::mem::take(&mut group.answers),
                    false => Answers::new(),
                };
                let writes = group.batch.writes.len();
                owner.group = Some(group);
                if writes > 1 {
                    self.took("owner: several writes in one object");
                }
                self.answer_all(number, early);
                self.ask_storage(number, Step::Put, ask);
            }
            Err(why) => self.fail("Shared", || format!("a write cannot be carried out: {why}")),
        }
    }

    /// The object that carries a group is there, or another one is in its place.
    pub(super) fn stored_group(&mut self, number: u64, done: bool) {
        let takes_any = self.has_owner_mutant(OwnerMutant::ForeignObjectTakenForOwn);
        let Some(owner) = self.shared.owners.get_mut(&number) else {
            return;
        };
        if !done && !takes_any {
            self.took("owner: fenced by an object");
            return self.owner_ends(number, None);
        }
        let Some(group) = owner.group.take() else {
            return;
        };
        owner.next += 1;
        owner.content.take_in(&group.batch);
        self.answer_all(number, group.answers);
        self.gather(number);
    }

    fn answer_all(&mut self, number: u64, answers: Answers) {
        let Some(life) = self.shared.owners.get(&number).map(|owner| owner.life) else {
            return;
        };
        for (ticket, answer) in answers {
            if matches!(answer, Ok(Answer::Written { repeated: true, .. })) {
                self.took("owner: answered a repetition");
            }
            self.owner_answers(life, ticket, answer);
        }
    }
}
