//! How unusual a silence is: φ accrual over the intervals between answers.
//!
//! After Hayashibara et al., "The φ accrual failure detector" (2004), with a floor on the mean
//! and on the deviation. Knows nothing about nodes.

use std::collections::VecDeque;
use std::time::Duration;

/// φ is cut here: beyond it the probability is no longer representable.
const PHI_MAX: f64 = 99.0;

/// The last intervals between answers of one node.
#[derive(Clone, Debug, Default)]
pub(crate) struct Intervals {
    recent: VecDeque<f64>,
}

impl Intervals {
    /// Remembers one interval, and of the earlier ones at most `window - 1`.
    pub(crate) fn push(&mut self, interval: Duration, window: usize) {
        while self.recent.len() >= window {
            self.recent.pop_front();
        }
        self.recent.push_back(interval.as_secs_f64());
    }

    /// −log₁₀ of the probability that an interval would be longer than `silence`.
    pub(crate) fn phi(
        &self,
        silence: Duration,
        mean_min: Duration,
        deviation_min: Duration,
    ) -> f64 {
        let count = self.recent.len().max(1) as f64;
        let mean = self.recent.iter().sum::<f64>() / count;
        let variance = self.recent.iter().map(|i| (i - mean).powi(2)).sum::<f64>() / count;
        // A burst of answers makes the mean small; nobody answers more often than he is asked.
        let mean = mean.max(mean_min.as_secs_f64());
        let deviation = variance.sqrt().max(deviation_min.as_secs_f64());
        let y = (silence.as_secs_f64() - mean) / deviation;
        // Logistic approximation of the normal distribution's tail, good to 0.014 %.
        let e = (-y * (1.5976 + 0.070_566 * y * y)).exp();
        let tail = if y > 0.0 {
            e / (1.0 + e)
        } else {
            1.0 - 1.0 / (1.0 + e)
        };
        (-tail.log10()).clamp(0.0, PHI_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEAN: Duration = Duration::from_millis(100);
    const DEVIATION: Duration = Duration::from_millis(50);

    fn phi(intervals: &Intervals, silence_ms: u64) -> f64 {
        intervals.phi(Duration::from_millis(silence_ms), MEAN, DEVIATION)
    }

    #[test]
    fn phi_rises_with_silence_and_stays_finite() {
        let mut regular = Intervals::default();
        for _ in 0..100 {
            regular.push(MEAN, 64);
        }
        assert_eq!(regular.recent.len(), 64);
        let steps: Vec<f64> = (0..100).map(|step| phi(&regular, step * 100)).collect();
        assert!(steps.is_sorted() && steps.iter().all(|phi| phi.is_finite()));
        assert!(phi(&regular, 100) < 0.5, "{}", phi(&regular, 100));
        assert!((350..370).any(|ms| phi(&regular, ms) < 8.0 && phi(&regular, ms + 10) > 8.0));
    }

    #[test]
    fn phi_adapts_to_irregular_answers_and_has_floors() {
        let mut irregular = Intervals::default();
        let mut burst = Intervals::default();
        for beat in 0..64 {
            irregular.push(
                Duration::from_millis(if beat % 2 == 0 { 20 } else { 280 }),
                64,
            );
            burst.push(Duration::from_millis(1), 64);
        }
        assert!(phi(&irregular, 400) < phi(&Intervals::default(), 400));
        assert!(
            phi(&burst, 200) < 3.0,
            "a burst must not make 200 ms look like death"
        );
    }
}
