//! What the bulk left over, settled along shortest paths; the prices come out of it.
//!
//! Knows nothing about how paths are found.
//!
//! Successive shortest paths with potentials (Edmonds and Karp 1972; Ahuja, Magnanti, Orlin,
//! “Network Flows”, 9.7): a flow of least cost stays one when units are sent along shortest paths,
//! so what comes out in the end is optimal. Each search serves several paths, and then whatever
//! can be handed over directly at the new prices.

use super::flow::Flow;
use super::search::{Arc, Search};
use super::topology::NONE;

impl Flow<'_> {
    /// Settles every excess. Whether it could: always, where shares are within what zones may
    /// have (flows in such networks are integral).
    pub(super) fn settle(&mut self) -> bool {
        loop {
            let mut open = std::mem::take(&mut self.open);
            open.retain(|&p| self.is_open(p as usize));
            self.open = open;
            let searched = {
                let mut search = Search::new(self);
                search.start(&self.open);
                if search.is_idle() {
                    return self.open.is_empty();
                }
                search.run();
                if search.found_nothing() {
                    return false;
                }
                search.finish()
            };
            let (potentials, paths) = searched;
            self.potentials = potentials;
            let mut touched = Vec::new();
            for path in paths {
                self.send(&path, &mut touched);
            }
            self.hand_over();
        }
    }

    /// Sends one unit along a path, unless an earlier path of the same search is in its way.
    fn send(&mut self, path: &[Arc], touched: &mut Vec<u32>) {
        let used = |arc: &Arc| arc.via != NONE && touched.contains(&arc.via);
        if path.iter().any(used) {
            return;
        }
        let sink = self.sink() as u32;
        let (first, last) = (path[0], path[path.len() - 1]);
        let starts = first.from == NONE
            || (first.from == sink && self.sink_excess() > 0)
            || (first.from != sink && self.node_excess(first.from) > 0);
        let ends = last.to == NONE
            || (last.to == sink && self.sink_excess() < 0)
            || (last.to != sink && self.node_excess(last.to) < 0);
        let odd = |arc: &Arc| {
            (arc.to != sink || self.may_take_odd(arc.from))
                && (arc.from != sink || self.may_give_odd(arc.to))
        };
        let passes = path.iter().filter(|arc| arc.via == NONE).all(odd);
        if !(starts && ends && passes) {
            return;
        }
        for arc in path.iter().filter(|arc| arc.via != NONE) {
            if arc.from != NONE {
                self.remove(arc.via as usize, arc.from);
            }
            if arc.to != NONE {
                self.add(arc.via as usize, arc.to);
            }
            touched.push(arc.via);
        }
    }
}
