//! Jobs under way, lane by lane: a host is given at most so many of each, and the others wait here,
//! so that none is ever dropped. Knows nothing of what a job does.

use std::collections::VecDeque;

use crate::job::{Job, Lane};
use crate::mutant::{Mutant, Sabotage};
use crate::settings::Settings;

#[derive(Debug)]
struct Queue {
    under_way: usize,
    max: usize,
    waiting: VecDeque<Job>,
}

/// The jobs of all lanes.
#[derive(Debug)]
pub(crate) struct Lanes {
    queues: [Queue; 3],
    sabotage: Sabotage,
}

impl Lanes {
    pub(crate) fn new(settings: &Settings) -> Self {
        let maxima = [settings.reads_max, settings.upkeep_max, settings.copies_max];
        Self {
            queues: maxima.map(|max| Queue {
                under_way: 0,
                max: max.max(1),
                waiting: VecDeque::new(),
            }),
            sabotage: settings.sabotage(),
        }
    }

    /// Gives a job to the host, or lets it wait for its turn.
    pub(crate) fn begin(&mut self, job: Job, to_host: &mut Vec<Job>) {
        let queue = &mut self.queues[job.lane() as usize];
        if queue.under_way < queue.max {
            queue.under_way += 1;
            to_host.push(job);
        } else if !self.sabotage.has(Mutant::JobDropped) {
            queue.waiting.push_back(job);
        }
    }

    /// Whether a job would be begun at once.
    pub(crate) fn is_free(&self, lane: Lane) -> bool {
        let queue = &self.queues[lane as usize];
        queue.under_way < queue.max
    }

    /// A job of this lane has ended: the next one begins.
    pub(crate) fn ended(&mut self, lane: Lane, to_host: &mut Vec<Job>) {
        let queue = &mut self.queues[lane as usize];
        queue.under_way = queue.under_way.saturating_sub(1);
        if queue.under_way < queue.max
            && let Some(job) = queue.waiting.pop_front()
        {
            queue.under_way += 1;
            to_host.push(job);
        }
    }
}
