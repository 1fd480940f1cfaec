//! How many descriptors the process may have, and how many of them its clients: journal, rows and
//! peers keep the rest, so that connections that idle stop nothing. Knows nothing of who opens any.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Without a limit, which no system has in fact.
const MANY: u64 = 1 << 20;

/// Raises the limit as far as this process may, as it was set for programs that use `select`.
pub(super) fn raise() {
    let limit = getrlimit(Resource::Nofile);
    if limit.current == limit.maximum {
        return;
    }
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!(%error, ?limit, "the limit of open files cannot be raised");
    }
}

/// How many connections of clients there may be, of those that are `wanted`.
pub(super) fn for_clients(wanted: usize) -> usize {
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(MANY);
    let clients = share(limit, wanted);
    if clients < wanted {
        tracing::info!(
            limit,
            clients,
            "so many connections of clients are taken; half of the open files is for data and peers"
        );
    }
    clients
}

fn share(limit: u64, wanted: usize) -> usize {
    let half = usize::try_from(limit / 2).unwrap_or(usize::MAX);
    wanted.min(half.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_get_at_most_half_of_the_descriptors() {
        assert_eq!(share(1_024, 10_000), 512);
        assert_eq!(share(1 << 20, 10_000), 10_000);
        assert_eq!(share(1, 10_000), 1);
        let limit = getrlimit(Resource::Nofile).current.unwrap_or(MANY);
        assert!(for_clients(usize::MAX) as u64 <= limit.div_ceil(2));
    }
}
