//! How fast Angarium is on this machine: `tests/bench [SCENARIO…]`.
//!
//! It starts a receiver, and for each run a fresh database and fresh nodes; publishes; and waits for everything that was
//! acknowledged. A delivery counts when the receiver has verified its signature. What was lost, doubled or out of order
//! is counted too, and must be 0, or the program fails.
//!
//! Ceiling  straight signed POSTs to the same receiver, before the scenarios. Receiver, publishers, nodes and database
//!          share the machine, so every figure is best read as a share of that.
//! Durable  commits wait for the disk: `fsync` and `synchronous_commit` are on, SQLite is `FULL`.

use std::path::PathBuf;

use angarium_tests::process::program;
use clap::{Parser, ValueEnum};

use crate::receiver::Receiver;
use crate::result::{Measured, median, shares, table};
use crate::scenario::{ALL, Run, Scenario};

mod ceiling;
mod client;
mod hosts;
mod mark;
mod publisher;
mod receiver;
mod redis;
mod result;
mod retention;
mod scenario;
mod special;
mod stage;
mod tally;
mod usage;

/// Scenarios that run when none is named: each takes less than a minute.
const USUAL: [&str; 9] =
    ["single", "batch", "fanout", "fifo", "strict", "backlog-fifo", "backlog-strict", "steady", "failing"];

/// Measures Angarium on this machine. Private PostgreSQL and Redis servers are started by `tests/bench`.
#[derive(Clone, Debug, Parser)]
pub(crate) struct Options {
    /// Scenarios; `list` tells what there is, `all` runs all of them.
    scenarios: Vec<String>,
    /// Where the rows are.
    #[arg(long, default_value = "postgres")]
    pub(crate) store: Store,
    /// Nodes on the same database.
    #[arg(long, default_value_t = 1)]
    pub(crate) nodes: usize,
    /// Runs of each scenario; the median is told, and the spread.
    #[arg(long, default_value_t = 1)]
    runs: usize,
    /// Seconds for which events are published.
    #[arg(long, default_value_t = 10)]
    pub(crate) seconds: u64,
    /// Another build of `angarium`, which runs each scenario in turn with this one. How much processor time it takes for a
    /// delivery is told as a share of this one's.
    #[arg(long)]
    pub(crate) against: Option<PathBuf>,
    /// Bytes of a payload.
    #[arg(long, default_value_t = 256)]
    pub(crate) payload_bytes: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Store {
    Postgres,
    Sqlite,
}

fn main() -> std::process::ExitCode {
    let options = Options::parse();
    if options.scenarios.iter().any(|name| name == "list") {
        for scenario in &ALL {
            println!("{:<15} {}", scenario.name, scenario.about);
        }
        return std::process::ExitCode::SUCCESS;
    }
    let scenarios = match chosen(&options.scenarios) {
        Ok(scenarios) => scenarios,
        Err(unknown) => {
            eprintln!("there is no scenario `{unknown}`; `tests/bench list` tells what there is");
            return std::process::ExitCode::FAILURE;
        }
    };
    if options.store == Store::Sqlite && options.nodes != 1 {
        eprintln!("a SQLite database belongs to one node; leave `--nodes` out");
        return std::process::ExitCode::FAILURE;
    }
    let receiver = Receiver::start().expect("the receiver starts");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("publisher")
        .enable_all()
        .build()
        .expect("the runtime of the publishers starts");
    let measured = runtime.block_on(run_all(&options, &receiver, &scenarios));
    if measured.iter().all(Measured::is_right) {
        std::process::ExitCode::SUCCESS
    } else {
        eprintln!("not everything arrived once and in order, or as fast as promised");
        measured.iter().flat_map(|one| &one.faults).for_each(|fault| eprintln!("  {fault}"));
        std::process::ExitCode::FAILURE
    }
}

fn chosen(names: &[String]) -> Result<Vec<Scenario>, String> {
    let named = |name: &str| ALL.into_iter().find(|scenario| scenario.name == name).ok_or_else(|| name.to_owned());
    match names {
        [] => USUAL.into_iter().map(named).collect(),
        [all] if all == "all" => Ok(ALL.to_vec()),
        names => names.iter().map(|name| named(name)).collect(),
    }
}

async fn run_all(options: &Options, receiver: &Receiver, scenarios: &[Scenario]) -> Vec<Measured> {
    let ceiling = ceiling::measure(receiver, options.payload_bytes).await;
    let writes = ceiling::durable_writes().expect("the temporary directory takes a file");
    println!(
        "ceiling: {ceiling:.0} signed POSTs/s, {writes:.0} durable writes/s; {:?}, {} node(s)\n",
        options.store, options.nodes
    );
    let run = Run { options, receiver };
    let mut all = Vec::new();
    for scenario in scenarios {
        let (mut runs, mut others): (Vec<Vec<Measured>>, Vec<Vec<Measured>>) = (Vec::new(), Vec::new());
        for _ in 0..options.runs.max(1) {
            runs.push(run.scenario(scenario, program()).await);
            if let Some(other) = &options.against {
                others.push(run.scenario(scenario, other).await);
            }
        }
        for row in 0..runs[0].len() {
            let of_row = |runs: &[Vec<Measured>]| runs.iter().map(|run| run[row].clone()).collect::<Vec<_>>();
            let measured = median(of_row(&runs));
            eprintln!("{}", table(std::slice::from_ref(&measured), ceiling).lines().last().unwrap_or_default());
            all.push(measured);
            if !others.is_empty() {
                let mut other = median(of_row(&others));
                other.name.push_str(": other");
                other.note = shares(&of_row(&runs), &of_row(&others));
                all.push(other);
            }
        }
    }
    println!("{}", table(&all, ceiling));
    all
}
