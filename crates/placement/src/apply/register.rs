//! A node registers: who may come in, who comes back, and who inherits a name.

use crate::{Applied, ClusterMap, Decision, DecisionKind, Member, MemberState, Refused};
use crate::{Registration, StorageId};

/// The longest name or address that is accepted, in bytes; a host name has at most 253.
const TEXT_BYTES_MAX: usize = 300;

impl ClusterMap {
    /// Records the member in its new incarnation: up, or draining if its drain was not called off.
    /// Its offices are not touched: they name the older incarnation, and the controller fills them
    /// anew by a change.
    ///
    /// A name whose holder is down may be taken over by a new storage id, which inherits nothing:
    /// the old one is retired at once if it holds no place, or else stays, marked as replaced,
    /// until its places are filled by others. An old directory that turns up again may then
    /// register under another name; its data are not lost.
    pub(super) fn apply_register(&mut self, new: &Registration) -> Result<Applied, Refused> {
        validate(new)?;
        if self.retired.contains(&new.storage) {
            return Err(Refused::RetiredStorage {
                storage: new.storage,
            });
        }
        let known = self.members.get(&new.storage);
        if let Some(member) = known {
            if is_same(member, new) {
                return match member.state {
                    MemberState::Down | MemberState::Left => Err(Refused::DeadIncarnation {
                        storage: new.storage,
                        incarnation: new.incarnation,
                    }),
                    _ => Ok(self.unchanged()),
                };
            }
            if !member.is_of(&new.begun) {
                return Err(Refused::OlderDirectory {
                    storage: new.storage,
                });
            }
            if new.incarnation <= member.incarnation {
                return Err(Refused::StaleIncarnation {
                    storage: new.storage,
                    current: member.incarnation,
                    given: new.incarnation,
                });
            }
        }
        let (kind, reason) = if known.is_some() {
            (
                DecisionKind::MemberBack,
                format!("started as incarnation {}", new.incarnation),
            )
        } else {
            (DecisionKind::Joined, format!("joined as {}", new.name))
        };
        let drains = known.is_some_and(|member| member.drains);
        self.take_over_name(new)?;
        let state = match drains {
            true => MemberState::Draining,
            false => MemberState::Up,
        };
        let member = Member {
            state,
            drains,
            ..member_of(new)
        };
        self.members.insert(new.storage, member);
        let evidence = format!("registration from {}", new.peer_address);
        let decision = Decision::new(kind, new.at_ms);
        Ok(self.record(
            decision
                .about(new.storage)
                .on_evidence(evidence)
                .because(reason),
        ))
    }

    fn take_over_name(&mut self, new: &Registration) -> Result<(), Refused> {
        let Some(holder) = self
            .member_named(&new.name)
            .filter(|m| m.storage != new.storage)
        else {
            return Ok(());
        };
        let (holder, live) = (holder.storage, holder.is_live());
        if live {
            return Err(Refused::NameTaken {
                name: new.name.clone(),
                holder,
            });
        }
        if self.places(holder) == 0 {
            self.members.remove(&holder);
            self.retired.insert(holder);
        } else if let Some(member) = self.members.get_mut(&holder) {
            member.replaced_by = Some(new.storage);
        }
        Ok(())
    }

    /// In how many partitions a member is replica, in sync, or primary.
    pub(super) fn places(&self, storage: StorageId) -> u32 {
        let places = self
            .partitions()
            .filter(|(_, _, a)| a.involves(storage))
            .count();
        u32::try_from(places).unwrap_or(u32::MAX)
    }
}

fn validate(new: &Registration) -> Result<(), Refused> {
    let invalid = |field: &str, expected: &str| {
        let (field, expected) = (field.to_owned(), expected.to_owned());
        Err(Refused::Invalid { field, expected })
    };
    let fits = |text: &str| !text.is_empty() && text.len() <= TEXT_BYTES_MAX;
    if !fits(&new.name) {
        return invalid("name", "1 to 300 bytes long");
    }
    if !fits(&new.http_address) || !fits(&new.peer_address) {
        return invalid("address", "1 to 300 bytes long");
    }
    if new.zone.len() > TEXT_BYTES_MAX {
        return invalid("zone", "at most 300 bytes long");
    }
    if new.storage == StorageId(0) {
        return invalid("storage", "a number other than 0");
    }
    Ok(())
}

fn member_of(new: &Registration) -> Member {
    Member {
        storage: new.storage,
        name: new.name.clone(),
        http_address: new.http_address.clone(),
        peer_address: new.peer_address.clone(),
        zone: new.zone.clone(),
        weight: new.weight,
        incarnation: new.incarnation,
        start: new.start,
        boot: new.boot,
        state: MemberState::Up,
        since_ms: new.at_ms,
        replaced_by: None,
        drains: false,
    }
}

fn is_same(member: &Member, new: &Registration) -> bool {
    let registered = Member {
        state: member.state,
        since_ms: member.since_ms,
        replaced_by: member.replaced_by,
        drains: member.drains,
        ..member_of(new)
    };
    *member == registered
}
