//! `angarium`: parse, build, run.

use std::process::ExitCode;

use angarium_api::cli::{Cli, sentence};
use angarium_api::config::ConfigError;
use clap::Parser as _;

/// The command line or the settings are wrong; nothing was started. Clap uses the same.
const USAGE: u8 = 2;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("angarium: failed to start: {error}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(cli.run()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            for line in sentence(&*error).lines() {
                eprintln!("angarium: {line}");
            }
            if error.is::<ConfigError>() { ExitCode::from(USAGE) } else { ExitCode::FAILURE }
        }
    }
}
