//! Where the tests' database and Redis servers are: given by `tests/run` through `TEST_POSTGRES_URL` and
//! `TEST_REDIS_URL`, or, under plain `cargo test`, started here once per process by `tests/services`.
//!
//! The script stops its servers when the pipe on its standard input closes. We keep that pipe in a static, so it
//! closes when this process ends, in whatever way. A test that stops and freezes servers starts some of its own.

use std::{
    env,
    io::{BufRead, BufReader, Write},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::{Mutex, OnceLock},
};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/services");

/// Servers of the tests' own.
#[derive(Debug)]
pub struct Services {
    /// A database whose user may create others, such as `postgres://postgres@127.0.0.1:25432/postgres`.
    pub postgres_url: String,
    /// A Redis of the tests' own, such as `redis://127.0.0.1:26379/`.
    pub redis_url: String,
    /// `tests/services`, unless somebody else started the servers.
    script: Option<Mutex<Script>>,
}

/// A running `tests/services`. Holds the pipe that keeps it running.
#[derive(Debug)]
struct Script {
    child: Child,
    commands: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

/// The servers that every test of this process shares: those named in the environment, else our own, started at the
/// first call.
///
/// # Panics
///
/// When only one of the two variables is set, or when `tests/services` cannot start the servers; the script says on
/// standard error what is missing.
pub fn services() -> &'static Services {
    static SERVICES: OnceLock<Services> = OnceLock::new();
    SERVICES.get_or_init(|| match (env::var("TEST_POSTGRES_URL"), env::var("TEST_REDIS_URL")) {
        (Ok(postgres_url), Ok(redis_url)) => Services { postgres_url, redis_url, script: None },
        (Err(_), Err(_)) => Services::start(),
        (Ok(_), Err(_)) => panic!("TEST_POSTGRES_URL is set but TEST_REDIS_URL is not; set both or neither"),
        (Err(_), Ok(_)) => panic!("TEST_REDIS_URL is set but TEST_POSTGRES_URL is not; set both or neither"),
    })
}

impl Services {
    /// Starts servers for the caller alone, who may then stop and freeze them. They end when this is dropped.
    ///
    /// # Panics
    /// When `tests/services` cannot start them.
    pub fn start() -> Self {
        let mut child = Command::new(SCRIPT)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("failed to run {SCRIPT}: {error}"));
        let commands = child.stdin.take();
        let answers = BufReader::new(child.stdout.take().expect("standard output was asked to be a pipe"));
        let mut script = Script { child, commands, answers };
        let (mut postgres_url, mut redis_url) = (None, None);
        loop {
            let line = script.read_line();
            match line.split_once('=') {
                Some(("TEST_POSTGRES_URL", url)) => postgres_url = Some(url.to_owned()),
                Some(("TEST_REDIS_URL", url)) => redis_url = Some(url.to_owned()),
                _ if line == "READY" => break,
                _ => panic!("tests/services printed a line that nobody expects: {line}"),
            }
        }
        Self {
            postgres_url: postgres_url.expect("tests/services gives TEST_POSTGRES_URL before READY"),
            redis_url: redis_url.expect("tests/services gives TEST_REDIS_URL before READY"),
            script: Some(Mutex::new(script)),
        }
    }

    /// Runs a command of `tests/services`, such as `stop redis`, to its end.
    ///
    /// # Panics
    /// When the servers were started by somebody else, or do not do it.
    pub fn command(&self, command: &str) {
        let script = self.script.as_ref().expect("only servers of one's own are commanded");
        let mut script = script.lock().expect("nobody panics with it");
        let commands = script.commands.as_mut().expect("it is open until the end");
        writeln!(commands, "{command}").expect("tests/services reads its commands");
        assert_eq!(script.read_line(), "DONE", "after `{command}`");
    }
}

impl Script {
    fn read_line(&mut self) -> String {
        let mut line = String::new();
        self.answers.read_line(&mut line).expect("tests/services writes lines of UTF-8");
        if line.is_empty() {
            match self.child.wait() {
                Ok(status) => panic!("tests/services has ended ({status}); its reason is above"),
                Err(error) => panic!("tests/services has ended: {error}"),
            }
        }
        line.trim_end().to_owned()
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        self.commands = None;
        let _ = self.child.wait();
    }
}
