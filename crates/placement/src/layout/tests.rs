//! Tests of layouts: random topologies, a naive oracle, and the edges.

mod certificates;
mod edges;
mod optimum;
mod oracle;
mod random;
