//! The command line.

mod check;
mod dev;
mod manage;
mod serve;

use std::error::Error;
use std::fmt::Display;
use std::io::{Write as _, stdout};
use std::path::PathBuf;

use angarium_entity::Database;
use angarium_entity::api_key::Scope;
use clap::{Parser, Subcommand};

use crate::config;

/// A webhook sender with a GraphQL API.
///
/// Settings come from the environment, in variables that begin with `ANGARIUM_`.
#[derive(Debug, Parser)]
#[command(name = "angarium", version, arg_required_else_help = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run everything for one person on this machine, with nothing to set up
    Dev {
        /// Directory of the database `angarium.db`, unless `ANGARIUM_DATABASE_URL` names another
        #[arg(long, value_name = "DIRECTORY", default_value = ".")]
        data_dir: PathBuf,
        /// Address and port, instead of `ANGARIUM_LISTEN`
        #[arg(long, value_name = "ADDRESS")]
        listen: Option<String>,
    },
    /// Run a server for production
    Serve,
    /// Bring the schema of the database up to date
    Migrate,
    /// Print the GraphQL schema
    Schema,
    /// Check the configuration and the connections of `serve`
    Check,
    /// Manage workspaces
    #[command(subcommand)]
    Workspace(WorkspaceCommand),
    /// Manage API keys
    #[command(subcommand)]
    Key(KeyCommand),
}

#[derive(Debug, Subcommand)]
enum WorkspaceCommand {
    /// Create a workspace and print its ID
    Create {
        /// Display name
        #[arg(long)]
        name: String,
        /// Your own identifier of it
        #[arg(long, value_name = "ID")]
        external_id: Option<String>,
    },
}

#[derive(Debug, Subcommand)]
enum KeyCommand {
    /// Create an API key and print it; it is not shown again
    Create {
        /// ID or external identifier of its workspace; none for an administrator's key
        #[arg(long, value_name = "ID")]
        workspace: Option<String>,
        /// Display name
        #[arg(long)]
        name: String,
        /// What it may do, with commas, such as `EVENT_PUBLISH,DELIVERY_READ`; `all` is all that a workspace can give
        #[arg(long, value_name = "SCOPES", value_delimiter = ',', required = true, value_parser = scopes)]
        scopes: Vec<ScopeWord>,
    },
}

/// A scope, or all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ScopeWord {
    All,
    One(Scope),
}

fn scopes(word: &str) -> Result<ScopeWord, String> {
    if word.eq_ignore_ascii_case("all") {
        return Ok(ScopeWord::All);
    }
    let found = Scope::ALL.into_iter().find(|scope| scope.name().eq_ignore_ascii_case(word.trim()));
    found.map(ScopeWord::One).ok_or_else(|| {
        let names: Vec<_> = Scope::ALL.iter().map(|scope| scope.name()).collect();
        format!("the scopes are {}, and `all`", names.join(", "))
    })
}

impl Cli {
    /// Does what was asked for, to its end.
    ///
    /// # Errors
    /// What went wrong, for [`sentence`].
    pub async fn run(self) -> Result<(), Box<dyn Error + Send + Sync>> {
        match self.command {
            Command::Dev { data_dir, listen } => dev::run(&data_dir, listen).await?,
            Command::Serve => serve::run().await?,
            Command::Migrate => manage::migrate().await?,
            Command::Schema => say(crate::graphql::sdl().trim_end()),
            Command::Check => check::run().await?,
            Command::Workspace(WorkspaceCommand::Create { name, external_id }) => {
                manage::create_workspace(&name, external_id.as_deref()).await?;
            }
            Command::Key(KeyCommand::Create { workspace, name, scopes }) => {
                manage::create_key(workspace.as_deref(), &name, &scopes).await?;
            }
        }
        Ok(())
    }
}

/// `error` and its causes in one line: `a: b: c`. A cause that the line before ends with already is not repeated.
pub fn sentence(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let message = error.to_string();
        if !text.ends_with(&message) {
            text = format!("{text}: {message}");
        }
        cause = error.source();
    }
    text
}

/// Prints a line. Nobody may be reading any more (`angarium schema | head`), which is no reason to fail: `println!` would
/// panic, and a server would end without having stopped.
pub(crate) fn say(line: impl Display) {
    if let Err(error) = writeln!(stdout().lock(), "{line}") {
        tracing::debug!(%error, "nobody reads what is printed");
    }
}

/// Every variable of this process that is text.
fn environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}

/// Opens the configured database.
async fn open(config: &config::Database) -> Result<Database, angarium_entity::database::OpenError> {
    Database::open(&config.url, config.connections).await
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
        let parsed = Cli::try_parse_from(["angarium", "key", "create", "--name", "x", "--scopes", "all,event_read"]);
        let Ok(Cli { command: Command::Key(KeyCommand::Create { scopes, .. }) }) = parsed else {
            panic!("{parsed:?}");
        };
        assert_eq!(scopes, [ScopeWord::All, ScopeWord::One(Scope::EventRead)]);
        assert!(Cli::try_parse_from(["angarium", "key", "create", "--name", "x", "--scopes", "ALMIGHTY"]).is_err());
    }

    #[test]
    fn a_failure_is_one_sentence_with_its_causes() {
        #[derive(Debug, thiserror::Error)]
        #[error("failed to connect")]
        struct Outer(#[source] Inner);
        #[derive(Debug, thiserror::Error)]
        #[error("no route to host")]
        struct Inner;
        assert_eq!(sentence(&Outer(Inner)), "failed to connect: no route to host");
    }
}
