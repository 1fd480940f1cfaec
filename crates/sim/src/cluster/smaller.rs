//! What is left out of a plan when a run is replayed smaller. Knows nothing of why.

use tablestore_dataplane::Settings;
use tablestore_replication::Settings as ReplicaSettings;

use super::scenario::Scenario;
use crate::Smaller;

impl Scenario {
    /// Leaves out what is not wanted. Nothing is drawn, so the rest of the plan stays as it is.
    pub(crate) fn make_smaller(&mut self, smaller: &Smaller) {
        // With fewer nodes than replicas no run ends well.
        let fewest = self.nodes.min(self.replicas as usize);
        let nodes = smaller.nodes.unwrap_or(self.nodes);
        self.nodes = nodes.clamp(fewest, self.nodes);
        self.clients = smaller.clients.unwrap_or(self.clients).min(self.clients);
        self.keys = smaller.keys.unwrap_or(self.keys).clamp(1, self.keys);
        if let Some(active) = &mut self.active {
            active.clients = smaller
                .clients
                .unwrap_or(active.clients)
                .min(active.clients);
            active.keys = smaller.keys.unwrap_or(active.keys).clamp(1, active.keys);
        }
        let until_us = smaller.until_us.unwrap_or(self.faults_end_us);
        self.faults_end_us = until_us.min(self.faults_end_us);
        if smaller.has_usual_limits {
            self.given.plane = usual_limits(&self.given.plane);
        }
    }
}

/// The times of these settings with the limits of a server.
fn usual_limits(these: &Settings) -> Settings {
    let replica = &these.replica;
    Settings {
        upkeep_every: these.upkeep_every,
        checksum_every: these.checksum_every,
        compare_within: these.compare_within,
        active: these.active,
        replica: ReplicaSettings {
            resend_after: replica.resend_after,
            confirm_after: replica.confirm_after,
            propose_again_after: replica.propose_again_after,
            lag_timeout: replica.lag_timeout,
            lost_timeout: replica.lost_timeout,
            ..ReplicaSettings::default()
        },
        ..Settings::default()
    }
}
