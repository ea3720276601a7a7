//! `angarium`: parse, build, run.

use std::process::ExitCode;

use angarium_api::cli::{Cli, sentence};
use angarium_api::config::ConfigError;
use clap::Parser as _;
use mimalloc::MiMalloc;

/// Gives memory back when what filled it is over. An event for thousands of endpoints leaves holes on every page of the heaps
/// of glibc, which then stay as large as they ever were: 200 of 480 MiB after one event for each of 100,000 endpoints.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// Stack of a thread. The resolvers of a query call each other as deep as the query is, in frames of many kilobytes where
/// nothing is optimised: with tokio's 2 MiB, a query of nine levels ended the process, and sixteen are accepted. Memory is
/// taken only for what is used of it.
const STACK_BYTES: usize = 64 * 1024 * 1024;
/// The command line or the settings are wrong; nothing was started. Clap uses the same.
const USAGE: u8 = 2;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let builder = &mut tokio::runtime::Builder::new_multi_thread();
    let runtime = match builder.enable_all().thread_stack_size(STACK_BYTES).build() {
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
