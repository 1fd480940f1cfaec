//! Why a cluster is not well: one sentence for each cause.
//!
//! Knows nothing of how it is shown, nor of what a node does about any of it.

use tablestore_client::{ClusterView, NodeView, PartitionView};
use tablestore_placement::ACTIVE;

use super::holdings::Holdings;

/// Levels of resources that are no harm yet: a warning keeps new data away.
const HARMLESS: [&str; 2] = ["ok", "warn"];
/// A processor that is busy does its work; whether it is too much shows elsewhere.
const PROCESSORS: &str = "cpu";

/// Why all is not well; empty when it is.
pub(super) fn reasons(holdings: &Holdings) -> Vec<String> {
    let cluster = &holdings.cluster;
    // What else could be said is not known.
    if let Some(lost) = no_majority(cluster) {
        return vec![lost];
    }
    let mut reasons = Vec::new();
    if cluster.controller.is_none() {
        reasons.push("no controller: rows are served, but nothing can be changed".to_owned());
    }
    for node in &cluster.nodes {
        match node.state.as_str() {
            "up" | "left" | "drained" => {}
            "draining" => reasons.push(draining(node)),
            state => reasons.push(format!("{} is {state}", node.name)),
        }
        reasons.extend(shortage(node));
    }
    reasons.extend(without_primary(holdings));
    reasons.extend(lacking_copies(holdings));
    reasons
}

/// Who is missing, if the node that answered reaches no majority of the voters.
pub(super) fn no_majority(cluster: &ClusterView) -> Option<String> {
    let lost = cluster.majority.as_ref().filter(|known| !known.reached)?;
    let missing = lost.missing.iter().map(|voter| match voter.silent_ms {
        Some(ms) => format!("{} (silent for {})", voter.node, age(ms)),
        None => format!("{} (not heard since it started)", voter.node),
    });
    Some(format!(
        "the node that answers reaches {} of {} voters; missing: {}. What it shows is what it knew \
         last: nothing is confirmed, taken over or changed. Start the missing nodes, or ask one \
         that reaches more; if they are lost for good see `tablestore recover --help`",
        lost.answering,
        lost.voters,
        missing.collect::<Vec<_>>().join(", "),
    ))
}

/// A time span as people say it.
pub(super) fn age(ms: u64) -> String {
    match ms / 1_000 {
        seconds @ 0..120 => format!("{seconds} s"),
        seconds @ 120..7_200 => format!("{} min", seconds / 60),
        seconds => format!("{} h", seconds / 3_600),
    }
}

/// How far the drain of a node is, and what is in its way.
fn draining(node: &NodeView) -> String {
    let drain = node.drain.clone().unwrap_or_default();
    let (copies, primaries) = (drain.copies_left, drain.primaries_left);
    let name = &node.name;
    let mut text = format!("{name} is draining ({copies} copies, {primaries} primaries left)");
    for why in &drain.blocked {
        text.push_str(&format!("; {why}"));
    }
    text
}

/// What a node is short of, with what was measured.
fn shortage(node: &NodeView) -> Option<String> {
    let known = node.resources.as_ref()?;
    if HARMLESS.contains(&known.level.as_str()) {
        return None;
    }
    let name = &node.name;
    let Some(resources) = &known.resources else {
        return Some(format!("{name} is short of resources ({})", known.level));
    };
    let short = resources.iter().filter(|(resource, state)| {
        *resource != PROCESSORS && !HARMLESS.contains(&state.level.as_str())
    });
    let told: Vec<String> = short
        .map(|(resource, state)| format!("{resource} ({}: {})", state.level, state.reason))
        .collect();
    (!told.is_empty()).then(|| format!("{name} is short of {}", told.join(" and ")))
}

/// Whether a table's partitions have primaries: those of an active table have none.
pub(super) fn has_primaries(cluster: &ClusterView, table: &str) -> bool {
    let mut tables = cluster.tables.iter();
    !tables.any(|shown| shown.name == table && shown.strategy == ACTIVE)
}

fn without_primary(holdings: &Holdings) -> Option<String> {
    let found = Found::in_tables(holdings, |table, partition| {
        partition.assignment.primary.is_none() && has_primaries(&holdings.cluster, table)
    })?;
    Some(format!("{found} have no primary"))
}

fn lacking_copies(holdings: &Holdings) -> Option<String> {
    // There may be fewer nodes than a table is defined to have copies.
    let wanted = |table: &str| {
        let tables = &holdings.cluster.tables;
        let shown = tables.iter().find(|shown| shown.name == table);
        shown.map_or(0, |shown| usize::try_from(shown.replicas).unwrap_or(0))
    };
    let mut fewest = usize::MAX;
    let found = Found::in_tables(holdings, |table, partition| {
        let held = &partition.assignment;
        let lacks = held.in_sync.len() < held.replicas.len().max(wanted(table));
        if lacks {
            fewest = fewest.min(held.in_sync.len());
        }
        lacks
    })?;
    Some(format!("{found} lack a copy in sync (down to {fewest})"))
}

/// Partitions that have something in common.
struct Found<'a> {
    partitions: usize,
    /// All partitions of the tables that have such ones.
    of: usize,
    tables: Vec<&'a str>,
}

impl<'a> Found<'a> {
    /// None if no partition is such a one.
    fn in_tables(
        holdings: &'a Holdings,
        mut is_one: impl FnMut(&str, &PartitionView) -> bool,
    ) -> Option<Self> {
        let mut found = Self {
            partitions: 0,
            of: 0,
            tables: Vec::new(),
        };
        for (table, partitions) in &holdings.partitions {
            let here = partitions.iter().filter(|one| is_one(table, one)).count();
            if here > 0 {
                found.partitions += here;
                found.of += partitions.len();
                found.tables.push(table);
            }
        }
        (found.partitions > 0).then_some(found)
    }
}

impl std::fmt::Display for Found<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} of {} partitions of ", self.partitions, self.of)?;
        match self.tables.as_slice() {
            [one] => write!(f, "table {one}"),
            several => write!(f, "{} tables", several.len()),
        }
    }
}

#[cfg(test)]
mod tests {
    use tablestore_contract::{AssignmentView, ResourceLevel, Resources, TableView};

    use super::*;

    fn partition(in_sync: usize) -> PartitionView {
        let names = ["n1", "n2", "n3"].map(str::to_owned);
        PartitionView {
            assignment: AssignmentView {
                primary: Some("n1".to_owned()),
                replicas: names.to_vec(),
                in_sync: names[..in_sync].to_vec(),
                ..AssignmentView::default()
            },
            ..PartitionView::default()
        }
    }

    fn holdings(node: NodeView, tables: &[(&str, &[usize])]) -> Holdings {
        let named = |(name, _): &(&str, &[usize])| TableView {
            name: (*name).to_owned(),
            ..TableView::default()
        };
        let held = |(name, in_sync): &(&str, &[usize])| {
            let partitions = in_sync.iter().map(|copies| partition(*copies)).collect();
            ((*name).to_owned(), partitions)
        };
        Holdings {
            cluster: ClusterView {
                controller: Some("n1".to_owned()),
                nodes: vec![node],
                tables: tables.iter().map(named).collect(),
                ..ClusterView::default()
            },
            partitions: tables.iter().map(held).collect(),
        }
    }

    fn node(levels: &[(&str, &str, &str)]) -> NodeView {
        let level = |(name, level, reason): &(&str, &str, &str)| {
            let state = ResourceLevel {
                level: (*level).to_owned(),
                reason: (*reason).to_owned(),
            };
            ((*name).to_owned(), state)
        };
        NodeView {
            name: "n1".to_owned(),
            state: "up".to_owned(),
            resources: Some(Resources {
                level: "critical".to_owned(),
                resources: Some(levels.iter().map(level).collect()),
                ..Resources::default()
            }),
            ..NodeView::default()
        }
    }

    #[test]
    fn one_cause_is_one_sentence_for_all_tables() {
        let tables: [(&str, &[usize]); 3] = [("a", &[3, 2]), ("b", &[1, 3, 3]), ("c", &[3])];
        let told = reasons(&holdings(node(&[]), &tables));
        let expected = "2 of 5 partitions of 2 tables lack a copy in sync (down to 1)";
        assert_eq!(told, [expected]);
        let told = reasons(&holdings(node(&[]), &tables[..1]));
        let expected = "1 of 2 partitions of table a lack a copy in sync (down to 2)";
        assert_eq!(told, [expected]);
    }

    #[test]
    fn a_busy_processor_is_no_trouble_and_what_is_short_is_named() {
        let busy = ("cpu", "critical", "load 99 %");
        assert_eq!(reasons(&holdings(node(&[busy]), &[])), [""; 0]);
        let full = ("disk", "high", "9 GiB of 100 GiB free");
        let told = reasons(&holdings(node(&[busy, full]), &[]));
        assert_eq!(told, ["n1 is short of disk (high: 9 GiB of 100 GiB free)"]);
    }
}
