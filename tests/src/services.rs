//! Where the tests' database and Redis servers are: given by `tests/run` through `TEST_POSTGRES_URL` and
//! `TEST_REDIS_URL`, or, under plain `cargo test`, started here once per process by `tests/services`.
//!
//! The script stops its servers when the pipe on its standard input closes. We keep that pipe in a static, so it
//! closes when this process ends, in whatever way.

use std::{
    env,
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    sync::OnceLock,
};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/services");

/// The servers that every test of this process shares.
#[derive(Debug)]
pub struct Services {
    /// A database whose user may create others, such as `postgres://postgres@127.0.0.1:25432/postgres`.
    pub postgres_url: String,
    /// A Redis of the tests' own, such as `redis://127.0.0.1:26379/`.
    pub redis_url: String,
    /// `tests/services`, unless somebody else started the servers. Holds the pipe that keeps it running.
    _script: Option<Child>,
}

/// The servers: those named in the environment, else our own, started at the first call.
///
/// # Panics
///
/// When only one of the two variables is set, or when `tests/services` cannot start the servers; the script says on
/// standard error what is missing.
pub fn services() -> &'static Services {
    static SERVICES: OnceLock<Services> = OnceLock::new();
    SERVICES.get_or_init(|| match (env::var("TEST_POSTGRES_URL"), env::var("TEST_REDIS_URL")) {
        (Ok(postgres_url), Ok(redis_url)) => Services { postgres_url, redis_url, _script: None },
        (Err(_), Err(_)) => start(),
        (Ok(_), Err(_)) => panic!("TEST_POSTGRES_URL is set but TEST_REDIS_URL is not; set both or neither"),
        (Err(_), Ok(_)) => panic!("TEST_REDIS_URL is set but TEST_POSTGRES_URL is not; set both or neither"),
    })
}

fn start() -> Services {
    let mut script = Command::new(SCRIPT)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("failed to run {SCRIPT}: {error}"));
    let stdout = script.stdout.take().expect("standard output was asked to be a pipe");

    let (mut postgres_url, mut redis_url) = (None, None);
    for line in BufReader::new(stdout).lines() {
        let line = line.expect("tests/services writes lines of UTF-8");
        match line.split_once('=') {
            Some(("TEST_POSTGRES_URL", url)) => postgres_url = Some(url.to_owned()),
            Some(("TEST_REDIS_URL", url)) => redis_url = Some(url.to_owned()),
            _ if line == "READY" => {
                return Services {
                    postgres_url: postgres_url.expect("tests/services gives TEST_POSTGRES_URL before READY"),
                    redis_url: redis_url.expect("tests/services gives TEST_REDIS_URL before READY"),
                    _script: Some(script),
                };
            }
            _ => panic!("tests/services printed a line that nobody expects: {line}"),
        }
    }
    match script.wait() {
        Ok(status) => panic!("tests/services ended before its servers were ready ({status}); its reason is above"),
        Err(error) => panic!("tests/services ended before its servers were ready: {error}"),
    }
}
