//! How many repeats may be sent: a token bucket, so that retries cannot keep an overload alive.
//!
//! Pure: time comes in as an argument.

use std::time::Duration;

/// A bucket that starts full, loses one token a repeat and is refilled at a steady rate.
#[derive(Debug, Clone)]
pub(crate) struct RetryBudget {
    tokens: f64,
    burst: f64,
    per_second: f64,
    filled_at: Duration,
}

impl RetryBudget {
    pub(crate) fn new(burst: u32, per_second: u32) -> Self {
        Self {
            tokens: f64::from(burst),
            burst: f64::from(burst),
            per_second: f64::from(per_second),
            filled_at: Duration::ZERO,
        }
    }

    /// Takes one token, or says how long to wait until there is one; `None` if never.
    pub(crate) fn take(&mut self, now: Duration) -> Result<(), Option<Duration>> {
        let passed = now.saturating_sub(self.filled_at);
        self.filled_at = self.filled_at.max(now);
        self.tokens = (self.tokens + passed.as_secs_f64() * self.per_second).min(self.burst);
        if self.tokens >= 1.0 {
            self.tokens -= 1.0;
            return Ok(());
        }
        if self.per_second == 0.0 || self.burst < 1.0 {
            return Err(None);
        }
        Err(Some(Duration::from_secs_f64(
            (1.0 - self.tokens) / self.per_second,
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn l19_repeats_are_limited_to_the_burst_and_then_to_the_rate() {
        let mut budget = RetryBudget::new(3, 2);
        let now = Duration::from_secs(1);
        for _ in 0..3 {
            assert_eq!(budget.take(now), Ok(()));
        }
        assert_eq!(budget.take(now), Err(Some(Duration::from_millis(500))));
        let later = now + Duration::from_millis(500);
        assert_eq!(budget.take(later), Ok(()));
        assert!(budget.take(later).is_err());
        let much_later = now + Duration::from_secs(100);
        let granted = (0..10).filter(|_| budget.take(much_later).is_ok()).count();
        assert_eq!(granted, 3, "the bucket holds no more than the burst");
    }

    #[test]
    fn no_rate_means_never_again() {
        let mut budget = RetryBudget::new(1, 0);
        assert_eq!(budget.take(Duration::ZERO), Ok(()));
        assert_eq!(budget.take(Duration::from_secs(9)), Err(None));
    }
}
