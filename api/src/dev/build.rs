//! Building the playground on the first start in a checkout.

use std::io;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::process::Command;

use crate::cli::{say, sentence};
use crate::http::unbuilt_sources;

/// Longest time for one of the two steps; the first loads packages.
const STEP_TIME_MAX: Duration = Duration::from_secs(300);

/// Why there is no playground; a page that needs the Internet takes its place.
#[derive(Debug, thiserror::Error)]
enum BuildError {
    #[error("failed to run `{0}`; is Node installed?")]
    Run(&'static str, #[source] io::Error),
    #[error("`{step}` ended with {status}: {reason}")]
    Failed { step: &'static str, status: ExitStatus, reason: String },
    #[error("`{step}` took longer than {} s", STEP_TIME_MAX.as_secs())]
    Slow { step: &'static str },
}

/// Builds the playground if this is a checkout where nobody did. Says so, and what went wrong; either way `dev` goes on.
pub async fn build_playground() {
    let Some(sources) = unbuilt_sources() else { return };
    say(format_args!(
        "building the playground, once ({})",
        sources.canonicalize().unwrap_or(sources.clone()).display()
    ));
    for (step, arguments) in
        [("npm ci", ["ci", "--no-audit", "--no-fund"].as_slice()), ("npm run build", &["run", "build"])]
    {
        if let Err(error) = run(&sources, step, arguments).await {
            let error = sentence(&error);
            say(format_args!("the playground is not built, GraphiQL will be loaded from esm.sh instead: {error}"));
            return;
        }
    }
}

async fn run(directory: &Path, step: &'static str, arguments: &[&str]) -> Result<(), BuildError> {
    let mut command = Command::new("npm");
    command.args(arguments).current_dir(directory).stdin(Stdio::null()).kill_on_drop(true);
    let output = tokio::time::timeout(STEP_TIME_MAX, command.output()).await;
    let output = output.map_err(|_| BuildError::Slow { step })?.map_err(|error| BuildError::Run(step, error))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let reason = said.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or("it gave no reason").to_owned();
    Err(BuildError::Failed { step, status: output.status, reason })
}
