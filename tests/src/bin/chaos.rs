//! The long run: breaks everything on every setup, and prints a table.
//!
//! `chaos [SECONDS] [FILTER]`: so long for each run, 60 by default, and only runs whose name holds FILTER, such as
//! `kill` or `SQLite`. `CHAOS_RATE` sets the events a second, `CHAOS_SEED` repeats what chance drew.

use std::process::ExitCode;
use std::time::Duration;

use angarium_tests::chaos::cluster::Setup;
use angarium_tests::chaos::judge::Limits;
use angarium_tests::chaos::network::Network;
use angarium_tests::chaos::scenario::{Run, all};
use angarium_tests::chaos::table;

/// Events a second, unless told otherwise.
const RATE: u32 = 200;
/// Published before the first fault of a run, and after the last, so that there is something to judge a calm machine by.
const CALM: Duration = Duration::from_secs(4);
/// What is too much on a machine that does nothing else.
const LIMITS: Limits = Limits {
    late: Duration::from_millis(20),
    acknowledged: Duration::from_millis(50),
    patience: Duration::ZERO,
    resident_bytes: 300 << 20,
    files: 1_000,
};

#[tokio::main]
async fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let seconds = arguments.next().map_or(60, |text| text.parse().expect("SECONDS is a number"));
    let filter = arguments.next().unwrap_or_default();
    let told = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u32>().expect("a number"));
    let rate = told("CHAOS_RATE").unwrap_or(RATE);
    let seed = told("CHAOS_SEED").unwrap_or_else(rand::random);
    println!("seed {seed}, {rate} events/s, {seconds} s each\n\n{}", table::HEAD);
    let mut has_failed = false;
    for setup in Setup::ALL {
        for scenario in all().into_iter().filter(|scenario| scenario.fault.fits(setup)) {
            if !format!("{} {}", setup.name(), scenario.name).contains(&filter) {
                continue;
            }
            if let (Setup::Apart, Err(why)) = (setup, Network::is_allowed()) {
                println!("| {} | {} | left out: {why} |", setup.name(), scenario.name);
                continue;
            }
            let time = Duration::from_secs(seconds);
            let run = Run { setup, scenario, time, rate, calm: CALM, seed: seed.into(), limits: LIMITS };
            let outcome = run.play().await;
            println!("{}", table::line(setup.name(), scenario.name, &outcome.judgement));
            eprint!("{}", outcome.report);
            has_failed |= !outcome.report.is_empty();
        }
    }
    if has_failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
