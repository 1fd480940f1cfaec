//! What the demo found, for people and for programs.

use serde_json::{Map, Value, json};
use tablestore_client::Decision;
use tablestore_placement::PRIMARY_BACKUP;
use tablestore_verify::Findings;
use tablestore_verify::pauses::{Gap, ms, percentile};

use super::rows::FLIGHTS;
use super::side::{Shown, promise};

/// One kill and what followed.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Kill {
    pub(crate) victim: String,
    pub(crate) controller: bool,
    pub(crate) primaries: usize,
    pub(crate) gap: Gap,
    /// The gaps of the other tables, by table.
    pub(crate) beside: Vec<(&'static str, Gap)>,
    /// Phases of the decisions that followed, in milliseconds after the kill, in order.
    pub(crate) phases: Vec<(String, f64)>,
    /// The first write that a new primary acknowledged.
    pub(crate) first_write_ms: Option<f64>,
}

/// All of it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Report {
    pub(crate) nodes: usize,
    pub(crate) seconds: f64,
    pub(crate) loaded: u64,
    pub(crate) acknowledged: u64,
    pub(crate) reads: u64,
    pub(crate) kills: Vec<Kill>,
    pub(crate) findings: Findings,
    /// The tables of the other strategies.
    pub(crate) beside: Vec<Shown>,
}

/// The phases of all decisions about a node since it was killed, and the first promotion that
/// followed, in milliseconds after the kill; a decision without phases counts with its own time.
pub(crate) fn phases(
    decisions: &[Decision],
    about: impl Fn(&str) -> bool,
    killed_at_us: u64,
    promoted_us: Vec<u64>,
) -> Vec<(String, f64)> {
    let mut phases: Vec<(String, f64)> = Vec::new();
    for decision in decisions {
        let ours = decision.subject.as_deref().is_some_and(&about);
        // Server and demo read the same clock, the decisions to whole milliseconds.
        if !ours || decision.at_ms < killed_at_us / 1000 {
            continue;
        }
        if !matches!(
            decision.kind.as_str(),
            "failover" | "member_down" | "stall" | "unreachable"
        ) {
            continue;
        }
        let own = [(decision.kind.clone(), decision.at_ms)];
        let named = decision
            .phases
            .iter()
            .map(|phase| (phase.name.clone(), phase.at_ms));
        let steps: Vec<(String, u64)> = if decision.phases.is_empty() {
            own.into()
        } else {
            named.collect()
        };
        for (name, at_ms) in steps {
            let after = ms((at_ms * 1000).saturating_sub(killed_at_us));
            match phases.iter_mut().find(|(known, _)| *known == name) {
                // Of several decisions about the node the first is the one that counts.
                Some((_, known)) => *known = known.min(after),
                None => phases.push((name, after)),
            }
        }
    }
    let decided = phases.iter().find(|(name, _)| name == "decided");
    let decided_ms = decided.map_or(0.0, |(_, at_ms)| *at_ms);
    // An office that moved for another reason just before is not what followed.
    let promoted = promoted_us.into_iter().map(ms);
    let promoted = promoted.filter(|at_ms| *at_ms >= decided_ms);
    phases.extend(
        promoted
            .reduce(f64::min)
            .map(|at_ms| ("promoted".to_owned(), at_ms)),
    );
    phases.sort_by(|a, b| a.1.total_cmp(&b.1));
    phases
}

impl Kill {
    /// `crash 0 → noticed 4 → decided 9 → promoted 14.2 → first write 19 ms`
    pub(crate) fn timeline(&self) -> String {
        let mut steps: Vec<(String, f64)> = vec![("crash".to_owned(), 0.0)];
        steps.extend(self.phases.iter().cloned());
        steps.extend(self.first_write_ms.map(|ms| ("first write".to_owned(), ms)));
        let texts: Vec<String> = steps
            .iter()
            .map(|(name, ms)| format!("{name} {ms}"))
            .collect();
        format!("{} ms", texts.join(" → "))
    }

    pub(crate) fn line(&self, number: usize, paused: bool) -> String {
        let Self {
            victim,
            primaries,
            gap,
            ..
        } = self;
        let what = if paused { "pause" } else { "kill" };
        let office = if self.controller { "controller, " } else { "" };
        let mut line = format!(
            "{what} {number}: {victim} ({office}primary of {primaries} partitions)\n  \
             {}\n  writes stood still for {} ms (half of the writers: {} ms or less)",
            self.timeline(),
            gap.max_ms,
            gap.p50_ms,
        );
        for (table, gap) in &self.beside {
            line.push_str(&format!("; of {table} {} ms", gap.max_ms));
        }
        line
    }

    fn json(&self) -> Value {
        let mut timeline: Map<String, Value> = self
            .phases
            .iter()
            .map(|(name, ms)| (name.clone(), json!(ms)))
            .collect();
        if let Some(ms) = self.first_write_ms {
            timeline.insert("first_write".to_owned(), json!(ms));
        }
        json!({
            "killed": self.victim,
            "controller": self.controller,
            "primaries": self.primaries,
            "ms": self.gap.max_ms,
            "writers_p50_ms": self.gap.p50_ms,
            "timeline_ms": timeline,
        })
    }
}

impl Report {
    /// Whether nothing is wrong with any table.
    pub(crate) fn fine(&self) -> bool {
        self.findings.fine() && self.beside.iter().all(|shown| shown.findings.fine())
    }

    /// All tables under traffic; the flights are the first.
    fn tables(&self) -> Vec<Shown> {
        let flights = Shown {
            strategy: PRIMARY_BACKUP,
            table: FLIGHTS,
            acknowledged: self.acknowledged,
            reads: self.reads,
            findings: self.findings.clone(),
            gaps: self.kills.iter().map(|kill| kill.gap).collect(),
        };
        std::iter::once(flights)
            .chain(self.beside.clone())
            .collect()
    }

    pub(crate) fn json(&self) -> Value {
        let tables = self.tables();
        let total = |count: fn(&Shown) -> u64| -> u64 { tables.iter().map(count).sum() };
        let examples = tables.iter().flat_map(|shown| &shown.findings.examples);
        let gaps: Vec<Value> = self.kills.iter().map(Kill::json).collect();
        json!({
            "ok": self.fine(),
            "kills": self.kills.len(),
            "acked": total(|shown| shown.acknowledged),
            "lost": total(|shown| shown.findings.lost),
            "stale_reads": total(|shown| shown.findings.stale_reads),
            "unequal": self.findings.unequal,
            "gap_ms": tables[0].gap_ms(),
            "gaps": gaps,
            "nodes": self.nodes,
            "seconds": (self.seconds * 10.0).round() / 10.0,
            "loaded": self.loaded,
            "reads": total(|shown| shown.reads),
            "compared": self.findings.compared,
            "examples": examples.collect::<Vec<_>>(),
            "tables": tables.iter().map(Shown::json).collect::<Vec<_>>(),
        })
    }

    pub(crate) fn text(&self) -> String {
        let tables = self.tables();
        let controllers = self.kills.iter().filter(|kill| kill.controller).count();
        let mut text = format!(
            "{} nodes, {} kills ({controllers} of the controller), {:.0} s, {} rows loaded\n  \
             unequal copies  {} of {} partitions\n  {:9} {:14} {:>12} {:>5} {:>6} {:>6}",
            self.nodes,
            self.kills.len(),
            self.seconds,
            self.loaded,
            self.findings.unequal,
            self.findings.compared,
            "table",
            "strategy",
            "acknowledged",
            "lost",
            "reads",
            "stale",
        );
        if !self.kills.is_empty() {
            text.push_str("  writes stood still, a kill (p50, p90, most)");
        }
        for shown in &tables {
            text.push_str(&format!("\n  {}", shown.line()));
        }
        for shown in &tables {
            let Shown { strategy, .. } = shown;
            text.push_str(&format!("\n  {strategy:14} {}", promise(strategy)));
        }
        for example in tables.iter().flat_map(|shown| &shown.findings.examples) {
            text.push_str(&format!("\n  ! {example}"));
        }
        text
    }
}

impl Shown {
    /// p50, p90 and maximum of the gaps.
    fn gaps_ms(&self) -> Option<(f64, f64, f64)> {
        let mut gaps: Vec<f64> = self.gaps.iter().map(|gap| gap.max_ms).collect();
        gaps.sort_by(f64::total_cmp);
        Some((
            percentile(&gaps, 50)?,
            percentile(&gaps, 90)?,
            *gaps.last()?,
        ))
    }

    fn gap_ms(&self) -> Option<Value> {
        let (p50, p90, max) = self.gaps_ms()?;
        Some(json!({"p50": p50, "p90": p90, "max": max}))
    }

    fn json(&self) -> Value {
        json!({
            "table": self.table,
            "strategy": self.strategy,
            "acked": self.acknowledged,
            "reads": self.reads,
            "lost": self.findings.lost,
            "stale_reads": self.findings.stale_reads,
            "gap_ms": self.gap_ms(),
        })
    }

    fn line(&self) -> String {
        let Self {
            strategy,
            table,
            acknowledged,
            reads,
            findings,
            ..
        } = self;
        let Findings {
            lost, stale_reads, ..
        } = findings;
        let mut line = format!(
            "{table:9} {strategy:14} {acknowledged:>12} {lost:>5} {reads:>6} {stale_reads:>6}"
        );
        if let Some((p50, p90, max)) = self.gaps_ms() {
            line.push_str(&format!("  {p50} ms, {p90} ms, {max} ms"));
        }
        line
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail by panic")]
    use tablestore_placement::PARTITION;

    use super::*;

    fn kill(victim: &str, controller: bool, max_ms: f64) -> Kill {
        Kill {
            victim: victim.to_owned(),
            controller,
            primaries: 11,
            gap: Gap {
                max_ms,
                p50_ms: max_ms / 2.0,
            },
            beside: vec![(
                "bookings",
                Gap {
                    max_ms: 300.0,
                    p50_ms: 9.0,
                },
            )],
            phases: [("noticed", 4.0), ("decided", 9.5), ("promoted", 14.2)]
                .map(|(name, ms)| (name.to_owned(), ms))
                .to_vec(),
            first_write_ms: Some(19.2),
        }
    }

    fn report() -> Report {
        Report {
            nodes: 3,
            seconds: 31.04,
            loaded: 28_462,
            acknowledged: 50_000,
            reads: 12_000,
            kills: vec![kill("n1", true, 40.0), kill("n2", false, 20.0)],
            findings: Findings {
                compared: 64,
                ..Findings::default()
            },
            beside: vec![Shown {
                strategy: PARTITION,
                table: "bookings",
                acknowledged: 700,
                reads: 300,
                findings: Findings::default(),
                gaps: vec![Gap {
                    max_ms: 300.0,
                    p50_ms: 9.0,
                }],
            }],
        }
    }

    #[test]
    fn the_report_for_people_is_as_reviewed() {
        let report = report();
        let mut text = report.kills[0].line(1, false);
        text.push_str("\n\n");
        text.push_str(&report.text());
        insta::assert_snapshot!("demo_report", text);
    }

    #[test]
    fn the_report_for_programs_has_its_agreed_members() {
        let json = report().json();
        assert_eq!(json["kills"], json!(2));
        assert_eq!(json["acked"], json!(50_700));
        assert_eq!(json["tables"][1]["strategy"], json!("partition"));
        assert_eq!(json["tables"][1]["gap_ms"]["max"], json!(300.0));
        for name in ["lost", "stale_reads", "unequal"] {
            assert_eq!(json[name], json!(0), "{name}");
        }
        assert_eq!(
            json["gap_ms"],
            json!({"p50": 20.0, "p90": 40.0, "max": 40.0})
        );
        assert_eq!(json["gaps"][0]["killed"], json!("n1"));
        assert_eq!(json["gaps"][0]["controller"], json!(true));
        assert_eq!(json["gaps"][0]["ms"], json!(40.0));
    }

    #[test]
    fn what_is_wrong_with_any_table_is_told() {
        let mut report = report();
        assert!(report.fine());
        report.beside[0].findings.lost = 2;
        assert!(!report.fine());
        let json = report.json();
        assert_eq!((&json["ok"], &json["lost"]), (&json!(false), &json!(2)));
    }

    #[test]
    fn phases_are_those_of_the_decisions_about_the_victim_after_the_kill() {
        let decision = |kind: &str, subject: &str, at_ms: u64, phases: Value| -> Decision {
            let value = json!({"kind": kind, "subject": subject, "at_ms": at_ms, "phases": phases});
            serde_json::from_value(value).unwrap()
        };
        let decisions = [
            decision(
                "failover",
                "n1",
                900,
                json!([{"name": "decided", "at_ms": 900}]),
            ),
            decision(
                "failover",
                "n1",
                1009,
                json!([{"name": "noticed", "at_ms": 1004}, {"name": "decided", "at_ms": 1009}]),
            ),
            decision("in_sync", "n1", 1020, json!([])),
            decision("failover", "n2", 1030, json!([])),
            decision("member_down", "n1", 1040, json!([])),
        ];
        let found = phases(
            &decisions,
            |subject| subject == "n1",
            1_000_400,
            vec![2_000, 30_000, 11_640],
        );
        let expected = [
            ("noticed", 3.6),
            ("decided", 8.6),
            ("promoted", 11.6),
            ("member_down", 39.6),
        ];
        let expected: Vec<_> = expected
            .iter()
            .map(|(n, ms)| ((*n).to_owned(), *ms))
            .collect();
        assert_eq!(found, expected);
    }
}
