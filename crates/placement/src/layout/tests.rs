//! Tests of layouts: random topologies, a naive oracle, and the edges.

mod certificates;
mod cluster;
mod edges;
mod optimum;
mod oracle;
mod random;
mod steps;
mod what_if;
