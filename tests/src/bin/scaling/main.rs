//! How an installation grows, by simulation: `cargo run --release --bin scaling`. `api/docs/scaling.md` tells the results.
//!
//! For each rate of deliveries the fewest nodes, cores and databases are sought with which the busiest station is below
//! [`FULL`], and then what is the busiest with half as much load again. All costs are what `tests/bench` measured on one
//! machine; see [`costs`].

#![expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "small numbers of a model"
)]

mod costs;
mod model;

use costs::{Costs, FAN_OUT, SINGLE};
use model::{Outcome, Shape, simulate};

/// A station that is busier than that is too small: what comes in bursts would wait too long.
const FULL: f64 = 0.7;
/// Cores of the largest PostgreSQL that is assumed, and of a node.
const POSTGRES_CORES_MAX: usize = 64;
const NODE_CORES: usize = 4;
/// What is simulated: so many seconds, and at least so many deliveries.
const SECONDS: f64 = 3.0;
const DELIVERIES_MIN: f64 = 100_000.0;

/// Databases that share the load evenly, each with nodes of its own, and one of them.
#[derive(Clone, Copy, Debug)]
struct Installations {
    count: usize,
    each: Shape,
}

fn main() {
    println!(
        "| load | deliveries/s | databases × cores | nodes of {NODE_CORES} cores | PostgreSQL | log | nodes | groups | \
         arrival p50 / p99 | first to break |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|");
    for (name, costs, fan_out) in [("one event each", SINGLE, 1), ("one event to 64 endpoints", FAN_OUT, 64)] {
        for rate in [1_000.0, 10_000.0, 100_000.0, 1_000_000.0] {
            let (Installations { count, each }, outcome) = fewest(&costs, rate, fan_out);
            let more = run(&costs, &Shape { rate: each.rate * 1.5, ..each });
            let percent = |share: f64| format!("{:.0} %", share * 100.0);
            println!(
                "| {name} | {rate} | {count} × {} | {} | {} | {} | {} | {} | {:.1} / {:.1} ms | {} |",
                each.postgres_cores,
                count * each.nodes,
                percent(outcome.postgres),
                percent(outcome.log),
                percent(outcome.node),
                percent(outcome.committer),
                outcome.arrival_p50_ms,
                outcome.arrival_p99_ms,
                more.busiest(),
            );
        }
    }
}

fn run(costs: &Costs, shape: &Shape) -> Outcome {
    simulate(costs, shape, (shape.rate * SECONDS).max(DELIVERIES_MIN) as usize)
}

/// The fewest of everything that carries the load.
fn fewest(costs: &Costs, rate: f64, fan_out: usize) -> (Installations, Outcome) {
    let each = Shape { rate, fan_out, nodes: 1, node_cores: NODE_CORES, postgres_cores: 2 };
    let mut found = Installations { count: 1, each };
    loop {
        found.each.rate = rate / found.count as f64;
        let outcome = run(costs, &found.each);
        // Whatever is too small grows at least by one, and at once by what it obviously lacks.
        let grown = |count: usize, share: f64| ((count as f64 * share / FULL).ceil() as usize).max(count + 1);
        let Shape { nodes, postgres_cores, .. } = found.each;
        if outcome.postgres > FULL && postgres_cores < POSTGRES_CORES_MAX {
            found.each.postgres_cores = grown(postgres_cores, outcome.postgres).min(POSTGRES_CORES_MAX);
        } else if outcome.postgres > FULL || outcome.log > FULL {
            found.count = grown(found.count, outcome.postgres.max(outcome.log));
        } else if outcome.node > FULL || outcome.committer > FULL {
            found.each.nodes = grown(nodes, outcome.node.max(outcome.committer));
        } else {
            return (found, outcome);
        }
    }
}
