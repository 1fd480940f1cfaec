//! A session with a node that has ended: how reconnects follow each other, and when their failures
//! together are a crash hint. Knows nothing of sockets.

use std::net::SocketAddr;
use std::time::Duration;

use tablestore_placement::Incarnation;
use tokio::time::Instant;

use super::greeting::GreetError;

/// For this long after a connection was lost, reconnects follow each other without a pause.
const QUICK_FOR: Duration = Duration::from_millis(150);
/// And at most this many; measured: up to 23 against the listener of a dying process.
pub(super) const QUICK_ATTEMPTS_MAX: u32 = 64;
/// The first of them not even with a breath between: each costs microseconds when refused.
const BREATHLESS_ATTEMPTS: u32 = 8;
/// Between two refusals that count as two.
pub(super) const REFUSAL_GAP: Duration = Duration::from_millis(1);
/// Refusals in a row, to the literal address of a lost session, that make a crash hint.
pub(super) const REFUSALS_FOR_A_HINT: u32 = 2;

/// A session that ended, and what came of dialling its address since.
#[derive(Debug, Clone, Copy)]
pub(super) struct LostSession {
    pub(super) incarnation: Incarnation,
    pub(super) address: SocketAddr,
    at: Instant,
    attempts: u32,
    pub(super) refusals: u32,
    pub(super) hinted: bool,
}

impl LostSession {
    pub(super) fn new(incarnation: Incarnation, address: SocketAddr) -> Self {
        let at = Instant::now();
        Self {
            incarnation,
            address,
            at,
            attempts: 0,
            refusals: 0,
            hinted: false,
        }
    }

    pub(super) fn is_quick(&self) -> bool {
        !self.hinted && self.attempts < QUICK_ATTEMPTS_MAX && self.at.elapsed() < QUICK_FOR
    }

    /// A hint if this failure completes one, and the wait before the next quick attempt if there
    /// is to be one.
    pub(super) fn judge(&mut self, error: &GreetError) -> (Option<Incarnation>, Option<Duration>) {
        self.attempts += 1;
        let refused = matches!(error, GreetError::Refused);
        self.refusals = if refused { self.refusals + 1 } else { 0 };
        if !self.hinted && self.refusals >= REFUSALS_FOR_A_HINT {
            self.hinted = true;
            return (Some(self.incarnation), None);
        }
        if !self.is_quick() {
            return (None, None);
        }
        let wait = match error {
            GreetError::Refused => REFUSAL_GAP,
            GreetError::Closed if self.attempts < BREATHLESS_ATTEMPTS => Duration::ZERO,
            _ => REFUSAL_GAP,
        };
        (None, Some(wait))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lost() -> LostSession {
        LostSession::new(Incarnation(3), SocketAddr::from(([127, 0, 0, 1], 1)))
    }

    #[test]
    fn two_refusals_in_a_row_are_a_hint_and_only_one() {
        let mut session = lost();
        assert_eq!(session.judge(&GreetError::Refused).0, None);
        assert_eq!(session.judge(&GreetError::Refused).0, Some(Incarnation(3)));
        assert_eq!(session.judge(&GreetError::Refused).0, None);
        assert_eq!(session.judge(&GreetError::Refused).0, None);
    }

    #[test]
    fn a_connect_accepted_by_the_dying_kernel_is_retried_at_once_and_breaks_the_row() {
        let mut session = lost();
        assert_eq!(session.judge(&GreetError::Refused).0, None);
        assert_eq!(
            session.judge(&GreetError::Closed),
            (None, Some(Duration::ZERO))
        );
        assert_eq!(session.judge(&GreetError::Refused).0, None);
        assert_eq!(session.judge(&GreetError::Refused).0, Some(Incarnation(3)));
    }

    #[test]
    fn o03_silence_is_no_refusal() {
        let mut session = lost();
        for _ in 0..100 {
            let unreachable = std::io::Error::from(std::io::ErrorKind::HostUnreachable);
            assert_eq!(session.judge(&GreetError::TimedOut).0, None);
            assert_eq!(session.judge(&GreetError::Io(unreachable)).0, None);
        }
        assert!(!session.is_quick(), "quick attempts are limited");
    }
}
