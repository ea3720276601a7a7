//! Redis servers of one test alone, of every kind: with passwords, TLS, replicas, sentinels, as a Cluster.
//!
//! A shell watches over each server and holds the other end of a pipe: when the pipe closes, because the test is done,
//! has failed or was killed, the shell kills the server and removes its files.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use redis::{FromRedisValue, RedisResult};

use crate::MOMENT;
use crate::app::eventually;

/// Runs a server until nobody holds its standard input. Says the process ID of the server.
const WATCH: &str = r#"
exec 3<&0
server=$(command -v redis-server || command -v valkey-server) || exit 1
"$server" "$1/server.conf" $2 </dev/null >"$1/log" 2>&1 3<&- &
echo $!
read -r _ <&3
exec 2>/dev/null
kill -KILL $!
wait $!
rm -rf "$1"
"#;

/// What a server is started with.
#[derive(Clone, Debug, Default)]
pub struct RedisSetup {
    /// Further lines of its configuration.
    pub lines: Vec<String>,
    /// Everybody needs it.
    pub password: Option<&'static str>,
    /// The folder of `authority.pem`, `server.pem` and `server.key`; without it the server does not speak TLS, with it
    /// nothing else.
    pub tls: Option<PathBuf>,
    /// Whether it is a sentinel.
    pub is_sentinel: bool,
    /// Whether it is to be part of a Cluster.
    pub is_in_cluster: bool,
}

/// A running server. Killed when dropped.
#[derive(Debug)]
pub struct RedisServer {
    directory: PathBuf,
    port: u16,
    /// By which the members of a Cluster speak with each other.
    bus: u16,
    process: String,
    password: Option<&'static str>,
    watch: Child,
}

impl RedisServer {
    /// Starts one on free ports of 127.0.0.1.
    ///
    /// # Panics
    /// When it does not answer in time.
    pub async fn start(setup: &RedisSetup) -> Self {
        let deadline = Instant::now() + MOMENT;
        loop {
            let mut server = Self::spawn(setup);
            while Instant::now() < deadline {
                if server.ask::<String>(&["PING"]).await.is_ok() {
                    return server;
                }
                if server.has_lost_its_port() {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            let log = server.log();
            server.end();
            assert!(Instant::now() < deadline, "the Redis server does not answer; it said:\n{log}");
        }
    }

    fn spawn(setup: &RedisSetup) -> Self {
        let unique = uuid::Uuid::now_v7().simple().to_string();
        let directory = std::env::temp_dir().join(format!("angarium-redis-{unique}"));
        fs::create_dir_all(&directory).expect("the temporary directory is writable");
        let (port, bus) = (free_port(), free_port());
        fs::write(directory.join("server.conf"), configuration(setup, &directory, port, bus)).expect("it is writable");
        let kind = if setup.is_sentinel { "--sentinel" } else { "" };
        let mut watch = Command::new("sh")
            .args(["-c", WATCH, "sh"])
            .arg(&directory)
            .arg(kind)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a shell starts");
        let mut process = String::new();
        let said = watch.stdout.take().expect("it is piped");
        BufReader::new(said).read_line(&mut process).expect("it speaks");
        let process = process.trim().to_owned();
        assert!(!process.is_empty(), "redis-server is missing; Debian's package is `redis-server`");
        Self { directory, port, bus, process, password: setup.password, watch }
    }

    /// Whether somebody else was faster at the port.
    fn has_lost_its_port(&self) -> bool {
        self.log().to_lowercase().contains("in use")
    }

    /// What it has said.
    pub fn log(&self) -> String {
        fs::read_to_string(self.directory.join("log")).unwrap_or_default()
    }

    /// Where it listens, such as `127.0.0.1:25000`.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Asks it past its port, so that nobody else can answer.
    ///
    /// # Errors
    /// When it does not answer, or refuses.
    pub async fn ask<T: FromRedisValue>(&self, command: &[impl AsRef<[u8]>]) -> RedisResult<T> {
        let login = self.password.map(|password| format!("?pass={password}")).unwrap_or_default();
        let socket = self.directory.join("socket");
        let client = redis::Client::open(format!("redis+unix://{}{login}", socket.display()))?;
        let mut connection = client.get_multiplexed_async_connection().await?;
        let mut asked = redis::Cmd::new();
        for part in command {
            asked.arg(part.as_ref());
        }
        asked.query_async(&mut connection).await
    }

    /// The same, for what does not fail.
    ///
    /// # Panics
    /// When it does.
    pub async fn told<T: FromRedisValue>(&self, command: &[impl AsRef<[u8]>]) -> T {
        self.ask(command).await.unwrap_or_else(|error| {
            let words = command.iter().map(|part| String::from_utf8_lossy(part.as_ref()));
            panic!("{}: {error}", words.collect::<Vec<_>>().join(" "))
        })
    }

    /// The value of a field of `INFO`; empty when it does not answer, as while it changes its role.
    pub async fn info(&self, section: &str, name: &str) -> String {
        let info: String = self.ask(&["INFO", section]).await.unwrap_or_default();
        let mut values = info.lines().filter_map(|line| line.split_once(':'));
        values.find(|(field, _)| *field == name).map(|(_, value)| value.trim().to_owned()).unwrap_or_default()
    }

    /// Its keys that look like `pattern`.
    pub async fn keys(&self, pattern: &str) -> Vec<Vec<u8>> {
        self.told(&["KEYS", pattern]).await
    }

    /// `kill -9`.
    pub fn kill(&self) {
        self.signal("KILL");
    }

    /// Stops it where it is: its connections stay open, and nobody answers on them.
    pub fn freeze(&self) {
        self.signal("STOP");
    }

    /// Lets a frozen one go on.
    pub fn thaw(&self) {
        self.signal("CONT");
    }

    fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([format!("-{name}"), self.process.clone()]).status().expect("kill runs");
        assert!(sent.success());
    }

    fn end(&mut self) {
        drop(self.watch.stdin.take());
        let _ = self.watch.wait();
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the Redis server at {} said:\n{}", self.address(), self.log());
        }
        self.end();
    }
}

/// A port that is free now, below those that Linux hands out by itself.
fn free_port() -> u16 {
    let is_free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
    let mut ports = std::iter::repeat_with(|| 10_000 + rand::random::<u16>() % 10_000);
    ports.by_ref().take(1_000).find(is_free).expect("a port is free")
}

fn configuration(setup: &RedisSetup, directory: &Path, port: u16, bus: u16) -> String {
    let directory = directory.display();
    let (plain, secure) = if setup.tls.is_some() { (0, port) } else { (port, 0) };
    let mut lines = vec![
        "bind 127.0.0.1".to_owned(),
        format!("port {plain}"),
        format!("dir {directory}"),
        format!("unixsocket {directory}/socket"),
    ];
    if !setup.is_sentinel {
        // A replica gets what there is at once.
        lines.extend(["save \"\"", "appendonly no", "repl-diskless-sync-delay 0"].map(str::to_owned));
    }
    if let Some(password) = setup.password {
        lines.push(format!("requirepass {password}"));
        if !setup.is_sentinel {
            lines.push(format!("masterauth {password}"));
        }
    }
    if let Some(folder) = &setup.tls {
        let folder = folder.display();
        lines.extend([
            format!("tls-port {secure}"),
            format!("tls-ca-cert-file {folder}/authority.pem"),
            format!("tls-cert-file {folder}/server.pem"),
            format!("tls-key-file {folder}/server.key"),
            "tls-auth-clients no".to_owned(),
            "tls-replication yes".to_owned(),
        ]);
    }
    if setup.is_in_cluster {
        lines.extend(["cluster-enabled yes".to_owned(), format!("cluster-port {bus}")]);
        if setup.tls.is_some() {
            lines.push("tls-cluster yes".to_owned());
        }
    }
    lines.extend(setup.lines.iter().cloned());
    lines.join("\n") + "\n"
}

/// A master, its replica, and a sentinel that watches over them.
#[derive(Debug)]
pub struct Sentinels {
    /// The first master.
    pub master: RedisServer,
    /// Its replica, until it is promoted.
    pub replica: RedisServer,
    /// The sentinel.
    pub sentinel: RedisServer,
}

impl Sentinels {
    /// What the master is called.
    pub const MASTER: &'static str = "main";

    /// Starts them as `setup` says; `password` is that of the sentinel. The sentinel takes a master for dead that does
    /// not answer for three seconds.
    ///
    /// # Panics
    /// When they do not find each other in time.
    pub async fn start(setup: &RedisSetup, password: Option<&'static str>) -> Self {
        let master = RedisServer::start(setup).await;
        let mut of_replica = setup.clone();
        of_replica.lines.push(format!("replicaof 127.0.0.1 {}", master.port));
        let replica = RedisServer::start(&of_replica).await;
        let name = Self::MASTER;
        let mut lines = vec![format!("sentinel monitor {name} 127.0.0.1 {} 1", master.port)];
        lines.push(format!("sentinel down-after-milliseconds {name} 3000"));
        lines.push(format!("sentinel failover-timeout {name} 20000"));
        lines.extend(setup.password.map(|password| format!("sentinel auth-pass {name} {password}")));
        let of_sentinel = RedisSetup { lines, password, is_sentinel: true, ..setup.clone() };
        let sentinel = RedisServer::start(&of_sentinel).await;
        let all = Self { master, replica, sentinel };
        eventually("the sentinel knows the replica", async || {
            let known: RedisResult<Vec<redis::Value>> = all.sentinel.ask(&["SENTINEL", "REPLICAS", name]).await;
            let is_linked = all.replica.info("replication", "master_link_status").await == "up";
            (is_linked && known.is_ok_and(|known| known.len() == 1)).then_some(())
        })
        .await;
        all
    }

    /// Waits until the replica is the master.
    ///
    /// # Panics
    /// When it is not in time.
    pub async fn expect_promotion(&self) {
        eventually("the replica is promoted", async || {
            (self.replica.info("replication", "role").await == "master").then_some(())
        })
        .await;
    }
}

/// Three masters that share the slots. Of a Cluster of fewer nobody would notice what a third does.
#[derive(Debug)]
pub struct RedisCluster(pub [RedisServer; 3]);

impl RedisCluster {
    /// Starts it.
    ///
    /// # Panics
    /// When the masters do not find each other in time.
    pub async fn start(setup: &RedisSetup) -> Self {
        let setup = RedisSetup { is_in_cluster: true, ..setup.clone() };
        let all =
            [RedisServer::start(&setup).await, RedisServer::start(&setup).await, RedisServer::start(&setup).await];
        // What `redis-cli --cluster create` does.
        let shares = [["1", "0", "5460"], ["2", "5461", "10922"], ["3", "10923", "16383"]];
        for (server, [epoch, first, last]) in all.iter().zip(shares) {
            let () = server.told(&["CLUSTER", "ADDSLOTSRANGE", first, last]).await;
            let () = server.told(&["CLUSTER", "SET-CONFIG-EPOCH", epoch]).await;
        }
        for other in &all[1..] {
            let (port, bus) = (other.port.to_string(), other.bus.to_string());
            let () = all[0].told(&["CLUSTER", "MEET", "127.0.0.1", &port, &bus]).await;
        }
        for server in &all {
            eventually("all slots are served", async || {
                let info: String = server.told(&["CLUSTER", "INFO"]).await;
                let is_whole = info.contains("cluster_state:ok") && info.contains("cluster_size:3");
                is_whole.then_some(())
            })
            .await;
        }
        Self(all)
    }

    /// Where its masters listen, separated by commas.
    pub fn hosts(&self) -> String {
        self.0.each_ref().map(RedisServer::address).join(",")
    }
}
