//! A node: the real program, its log in a file, and somebody who starts it again when it ends.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Seek as _, SeekFrom};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rand::RngExt as _;

use super::evidence::Sample;
use super::network::Network;
use crate::client::http_client;
use crate::process::program;

/// Pause between two looks at the process, and the longest wait of a node that has ended for its next start.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Ports that Linux does not hand out by itself, and that `tests/services` does not take.
const PORTS: std::ops::Range<u16> = 30_000..32_768;
/// The port of a node that has all of them for itself.
const PORT: u16 = 8080;
/// What a node says when it serves.
const UP: &str = "the server is up";

/// Where a node runs.
#[derive(Clone, Debug)]
pub struct Place {
    address: SocketAddr,
    /// The network namespace, if it has one of its own.
    namespace: Option<String>,
}

impl Place {
    /// Beside the tests, on a free port.
    pub fn free() -> Self {
        Self { address: free_address(), namespace: None }
    }

    /// In the namespace of this node.
    pub fn within(network: &Network, node: usize) -> Self {
        Self { address: SocketAddr::new(network.address(node), PORT), namespace: Some(network.namespace(node)) }
    }

    /// How the program is started there.
    fn command(&self) -> Command {
        let Some(namespace) = &self.namespace else { return Command::new(program()) };
        // `ip` becomes the program, so that signals reach it.
        let mut command = Command::new("ip");
        command.args(["netns", "exec", namespace]).arg(program());
        command
    }
}

/// A node that is started again whenever it ends, until it is told to stop.
#[derive(Debug)]
pub struct Node {
    /// Such as `node 1`.
    pub name: String,
    place: Place,
    log: PathBuf,
    settings: Vec<(String, String)>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    child: Option<Child>,
    /// How often it was started.
    starts: usize,
    /// Where its log began at the latest start.
    began_at: u64,
    /// Whether it is to run.
    wanted: bool,
    /// Whether it was told to end.
    told: bool,
    mishaps: Vec<String>,
}

impl Node {
    /// Starts one with these variables on top of its own address, which it keeps over all starts.
    pub fn start(name: &str, directory: &Path, place: Place, mut settings: Vec<(String, String)>) -> Arc<Self> {
        settings.push(("ANGARIUM_LISTEN".to_owned(), place.address.to_string()));
        let log = directory.join(format!("{}.log", name.replace(' ', "-")));
        let state = Mutex::new(State { wanted: true, ..State::default() });
        let node = Arc::new(Self { name: name.to_owned(), place, log, settings, state });
        let watched = Arc::downgrade(&node);
        tokio::spawn(async move {
            while let Some(node) = watched.upgrade() {
                node.look();
                drop(node);
                tokio::time::sleep(LOOK_EVERY).await;
            }
        });
        node
    }

    /// Where it serves, such as `http://127.0.0.1:31234`.
    pub fn base(&self) -> String {
        format!("http://{}", self.place.address)
    }

    /// Whether it has said since its latest start that it serves.
    pub fn is_up(&self) -> bool {
        let state = self.state();
        state.child.is_some() && self.said(&state).contains(UP)
    }

    /// How often it was started.
    pub fn starts(&self) -> usize {
        self.state().starts
    }

    /// `kill -9`. It is started again at once.
    pub fn kill(&self) {
        let mut state = self.state();
        if let Some(child) = &mut state.child {
            child.kill().expect("it can be killed");
            child.wait().expect("it has ended");
        }
        state.child = None;
    }

    /// SIGTERM. It is started again when it has ended.
    pub fn terminate(&self) {
        let mut state = self.state();
        state.told = true;
        signal(&state, "TERM");
    }

    /// SIGSTOP: it runs no more, and does not know.
    pub fn freeze(&self) {
        signal(&self.state(), "STOP");
    }

    /// SIGCONT.
    pub fn thaw(&self) {
        signal(&self.state(), "CONT");
    }

    /// Tells it to end, for good.
    pub fn stop(&self) {
        self.state().wanted = false;
        self.terminate();
    }

    /// Whether it has ended for good.
    pub fn has_stopped(&self) -> bool {
        let state = self.state();
        !state.wanted && state.child.is_none()
    }

    /// How it ended when nobody told it to, and what was wrong when somebody did.
    pub fn mishaps(&self) -> Vec<String> {
        self.state().mishaps.clone()
    }

    /// What it takes up, where the system tells.
    pub fn sample(&self) -> Option<Sample> {
        let id = self.state().child.as_ref()?.id();
        let status = std::fs::read_to_string(format!("/proc/{id}/status")).ok()?;
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        let kilobytes: u64 = resident.trim().trim_end_matches(" kB").parse().ok()?;
        let files = std::fs::read_dir(format!("/proc/{id}/fd")).ok()?.count();
        Some(Sample { resident_bytes: kilobytes * 1024, files })
    }

    /// What it counts under this name; none when it does not answer.
    pub async fn metric(&self, name: &str) -> Option<usize> {
        let asked = http_client().get(format!("{}/metrics", self.base())).send().await.ok()?;
        let text = asked.text().await.ok()?;
        text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
    }

    /// Everything that it has logged.
    pub fn logged(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notices that it has ended, and starts it.
    fn look(&self) {
        let mut state = self.state();
        if let Some(child) = &mut state.child {
            let Ok(Some(status)) = child.try_wait() else { return };
            self.note(&mut state, status);
            state.child = None;
        }
        if state.wanted {
            let log = OpenOptions::new().create(true).append(true).open(&self.log).expect("the log is writable");
            state.began_at = log.metadata().expect("the log can be measured").len();
            state.told = false;
            state.starts += 1;
            state.child = Some(self.spawn(&log));
        }
    }

    fn spawn(&self, log: &File) -> Child {
        let mut command = self.place.command();
        let out = || Stdio::from(log.try_clone().expect("a file can be shared"));
        command.arg("serve").stdin(Stdio::null()).stdout(out()).stderr(out());
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("ANGARIUM_")) {
            command.env_remove(name);
        }
        command.envs(self.settings.iter().map(|(name, value)| (name, value)));
        command.spawn().expect("the program starts")
    }

    /// One that cannot start while its database is away is right to end; one that was up is not.
    fn note(&self, state: &mut State, status: ExitStatus) {
        let was_up = self.said(state).contains(UP);
        let is_right = if state.told { status.success() || !was_up } else { !was_up && status.code() == Some(1) };
        if !is_right {
            let mishap = format!("{} ended with {status}; see {}", self.name, self.log.display());
            state.mishaps.push(mishap);
        }
    }

    /// Its log since its latest start.
    fn said(&self, state: &State) -> String {
        let mut said = Vec::new();
        let read = File::open(&self.log).and_then(|mut log| {
            log.seek(SeekFrom::Start(state.began_at))?;
            log.read_to_end(&mut said)
        });
        read.map(|_| String::from_utf8_lossy(&said).into_owned()).unwrap_or_default()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.kill();
    }
}

fn signal(state: &State, name: &str) {
    if let Some(child) = &state.child {
        let sent = Command::new("kill").args([format!("-{name}"), child.id().to_string()]).status();
        assert!(sent.expect("kill runs").success(), "the node is there");
    }
}

fn free_address() -> SocketAddr {
    loop {
        let address = SocketAddr::from(([127, 0, 0, 1], rand::rng().random_range(PORTS)));
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
}
