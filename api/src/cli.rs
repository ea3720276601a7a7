//! The command line.

mod check;
mod client;
mod config;
mod dev;
mod files;
mod health;
mod listen;
mod manage;
mod receive;
mod send;
mod serve;

use std::error::Error;
use std::fmt::Display;
use std::io::{Write as _, stdout};
use std::path::PathBuf;

use angarium_entity::Database;
use angarium_entity::api_key::Scope;
use clap::{CommandFactory as _, Parser, Subcommand};
use clap_complete::Shell;

use crate::config::{self as settings, Variables};

/// A webhook sender with a GraphQL API.
///
/// Settings come from the environment, in variables that begin with `ANGARIUM_`, and from a file of such lines;
/// `angarium config` explains them. Exit codes: 0 done, 1 failed, 2 the command line or a setting is wrong.
#[derive(Debug, Parser)]
#[command(name = "angarium", version, arg_required_else_help = true)]
pub struct Cli {
    /// A file of settings, lines such as `ANGARIUM_LOG=info`; what is in the environment wins
    #[arg(long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
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
    Migrate {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Print the GraphQL schema
    Schema,
    /// Try everything that `serve` needs here: settings, database, permissions, proxy, collector of traces, addresses
    Check {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Explain every setting and print its present value, without secrets
    Config {
        #[command(flatten)]
        format: config::Format,
    },
    /// Seal the stored secrets anew under `ANGARIUM_ENCRYPTION_KEY` where they are under one of
    /// `ANGARIUM_PREVIOUS_ENCRYPTION_KEYS`
    Reencrypt {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Manage workspaces
    #[command(subcommand)]
    Workspace(WorkspaceCommand),
    /// Manage API keys
    #[command(subcommand)]
    Key(KeyCommand),
    /// Publish an event from a file or standard input
    Send(send::Arguments),
    /// Forward deliveries to a URL on this machine while they happen
    Listen(listen::Arguments),
    /// Take deliveries, verify and show them: a receiver to play with
    Receive(receive::Arguments),
    /// Ask a server whether it is ready, for health checks
    Health(health::Arguments),
    /// Print the completions of a shell, such as `angarium completions bash > /etc/bash_completion.d/angarium`
    Completions {
        /// Which shell
        shell: Shell,
    },
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
        /// Print JSON
        #[arg(long)]
        json: bool,
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
        /// Print JSON
        #[arg(long)]
        json: bool,
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
        let variables = Variables::find(self.config.as_deref());
        match self.command {
            Command::Dev { data_dir, listen } => dev::run(variables, &data_dir, listen).await?,
            Command::Serve => serve::run(variables).await?,
            Command::Migrate { json } => manage::migrate(variables, json).await?,
            Command::Schema => say(crate::graphql::sdl().trim_end()),
            Command::Check { json } => Box::pin(check::run(variables, json)).await?,
            Command::Reencrypt { json } => manage::reencrypt(variables, json).await?,
            Command::Config { format } => config::run(&variables, format)?,
            Command::Workspace(WorkspaceCommand::Create { name, external_id, json }) => {
                manage::create_workspace(variables, &name, external_id.as_deref(), json).await?;
            }
            Command::Key(KeyCommand::Create { workspace, name, scopes, json }) => {
                manage::create_key(variables, workspace.as_deref(), &name, &scopes, json).await?;
            }
            Command::Send(arguments) => send::run(variables, arguments).await?,
            Command::Listen(arguments) => listen::run(variables, arguments).await?,
            Command::Receive(arguments) => receive::run(variables, arguments).await?,
            Command::Health(arguments) => health::run(variables, arguments).await?,
            Command::Completions { shell } => {
                let mut script = Vec::new();
                clap_complete::generate(shell, &mut Self::command(), "angarium", &mut script);
                say(String::from_utf8_lossy(&script).trim_end());
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

/// Opens the configured database.
async fn open(config: &settings::Database) -> Result<Database, angarium_entity::database::OpenError> {
    Database::open(&config.url, config.connections).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
        let parsed = Cli::try_parse_from(["angarium", "key", "create", "--name", "x", "--scopes", "all,event_read"]);
        let Ok(Cli { command: Command::Key(KeyCommand::Create { scopes, .. }), .. }) = parsed else {
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
