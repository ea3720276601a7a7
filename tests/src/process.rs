//! The real program, as a process that can be killed.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// The program, as cargo has built it beside the tests. Testing the whole workspace builds it, because the package that
/// it belongs to has an integration test (`api/tests/cli.rs`); for one package alone, build it first.
pub fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let test = std::env::current_exe().expect("a test knows where it is");
        // Programs lie beside it, and tests in a folder below.
        let program = test.ancestors().skip(1).take(2).map(|folder| folder.join("angarium")).find(|path| path.exists());
        program.unwrap_or_else(|| panic!("the program is missing beside {}: run `cargo build`", test.display()))
    })
}

/// How much of what a program said a failing test tells.
const LINES_KEPT: usize = 200;

/// A running `angarium`. Killed when dropped; a test that fails tells what it said last.
#[derive(Debug)]
pub struct Process {
    child: Child,
    base: String,
    output: Vec<String>,
    /// What it said since.
    later: Arc<Mutex<VecDeque<String>>>,
}

impl Process {
    /// Starts it in `directory`, without any variable of ours but `settings`, and waits until it serves.
    ///
    /// # Panics
    /// When it ends before.
    pub fn start<S: AsRef<OsStr>>(directory: &Path, arguments: &[&str], settings: &[(&str, S)]) -> Self {
        Self::start_program(program(), directory, arguments, settings)
    }

    /// The same for another build of it.
    ///
    /// # Panics
    /// When it ends before it serves.
    pub fn start_program<S: AsRef<OsStr>>(
        program: &Path,
        directory: &Path,
        arguments: &[&str],
        settings: &[(&str, S)],
    ) -> Self {
        let mut command = Command::new(program);
        command
            .args(arguments)
            .current_dir(directory)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("ANGARIUM_")) {
            command.env_remove(name);
        }
        for (name, value) in settings {
            command.env(name, value.as_ref());
        }
        let mut child = command.spawn().expect("the program starts");
        let (lines, output) = std::sync::mpsc::channel();
        let streams: [Option<Box<dyn std::io::Read + Send>>; 2] =
            [child.stdout.take().map(|out| Box::new(out) as _), child.stderr.take().map(|err| Box::new(err) as _)];
        for stream in streams.into_iter().flatten() {
            let lines = lines.clone();
            std::thread::spawn(move || {
                for line in BufReader::new(stream).lines().map_while(Result::ok) {
                    if lines.send(line).is_err() {
                        break;
                    }
                }
            });
        }
        drop(lines);
        let mut seen = Vec::new();
        let base = loop {
            let Ok(line) = output.recv_timeout(crate::MOMENT) else {
                let _ = child.kill();
                let _ = child.wait();
                panic!("the program did not get to serve:\n{}", seen.join("\n"));
            };
            let base = line.contains("the server is up").then(|| address(&line)).flatten();
            seen.push(line);
            if let Some(base) = base {
                break base;
            }
        };
        // What it says later must be read, or it would block on a full pipe.
        let later: Arc<Mutex<VecDeque<String>>> = Arc::default();
        let kept = later.clone();
        std::thread::spawn(move || {
            for line in output {
                let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
                kept.push_back(line);
                if kept.len() > LINES_KEPT {
                    kept.pop_front();
                }
            }
        });
        Self { child, base, output: seen, later }
    }

    /// Where it listens, such as `http://127.0.0.1:40123`.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// What it said until it served.
    pub fn output(&self) -> &[String] {
        &self.output
    }

    /// Whether it has said this, among the last that it said.
    pub fn has_said(&self, text: &str) -> bool {
        let later = self.later.lock().unwrap_or_else(PoisonError::into_inner);
        self.output.iter().chain(later.iter()).any(|line| line.contains(text))
    }

    /// Its process ID.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        self.child.kill().expect("it can be killed");
        self.child.wait().expect("it has ended");
    }

    /// Sends a signal by name, such as `INT`.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([format!("-{name}"), self.id().to_string()]).status().expect("kill runs");
        assert!(sent.success());
    }

    /// Waits for its end and answers whether it ended well.
    pub fn wait(&mut self) -> bool {
        self.child.wait().expect("it can be waited for").success()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let later = self.later.lock().unwrap_or_else(PoisonError::into_inner);
            eprintln!("the last that the program at {} said:", self.base);
            later.iter().for_each(|line| eprintln!("  {line}"));
        }
    }
}

/// The first `127.0.0.1:<port>` of a line.
fn address(line: &str) -> Option<String> {
    let rest = &line[line.find("127.0.0.1:")? + "127.0.0.1:".len()..];
    let port: String = rest.chars().take_while(char::is_ascii_digit).collect();
    Some(format!("http://127.0.0.1:{port}"))
}
