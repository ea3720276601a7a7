//! What processes use, from `/proc`.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

/// Clock ticks in a second, as `/proc` counts: 100 on every platform that Rust and Linux share.
const TICKS_PER_SECOND: u32 = 100;

/// Processor time by the name of a part.
pub(crate) type Cpu = BTreeMap<&'static str, Duration>;

/// What is watched.
#[derive(Clone, Debug, Default)]
pub(crate) struct Watched {
    pub(crate) nodes: Vec<u32>,
    pub(crate) postgres: Option<u32>,
    pub(crate) redis: Option<u32>,
}

impl Watched {
    pub(crate) fn cpu(&self) -> Cpu {
        let mut cpu = Cpu::new();
        cpu.insert("node", self.nodes.iter().map(|pid| cpu_of(*pid)).sum());
        cpu.insert("receiver", threads_named(crate::receiver::THREAD));
        if let Some(pid) = self.postgres {
            cpu.insert("postgres", cpu_of(pid));
        }
        if let Some(pid) = self.redis {
            cpu.insert("redis", cpu_of(pid));
        }
        cpu
    }

    /// Most bytes that a node had in memory at any time, and those that it has now.
    pub(crate) fn memory(&self) -> (u64, u64) {
        let most = |field: &str| self.nodes.iter().filter_map(|pid| status(*pid, field)).max().unwrap_or(0);
        (most("VmHWM:"), most("VmRSS:"))
    }

    /// Files and sockets that the nodes have open.
    pub(crate) fn files(&self) -> usize {
        self.nodes.iter().map(|pid| fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count)).sum()
    }
}

/// What was used between two looks.
pub(crate) fn used(before: &Cpu, after: &Cpu) -> Cpu {
    after
        .iter()
        .map(|(name, time)| (*name, time.saturating_sub(before.get(name).copied().unwrap_or_default())))
        .collect()
}

/// The parent of a process.
pub(crate) fn parent_of(pid: u32) -> Option<u32> {
    stat(&format!("/proc/{pid}/stat")).map(|(_, fields)| fields[1]).and_then(|pid| u32::try_from(pid).ok())
}

/// Processor time of a process and of all processes that it started, those included that have ended.
fn cpu_of(pid: u32) -> Duration {
    let own = stat(&format!("/proc/{pid}/stat")).map_or(0, |(_, fields)| fields[11..=14].iter().sum());
    let children: Duration = processes().filter(|child| parent_of(*child) == Some(pid)).map(cpu_of).sum();
    time(own) + children
}

/// Processor time of the threads of this process whose name starts so.
fn threads_named(name: &str) -> Duration {
    let tasks = fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let stats = tasks.filter_map(|task| stat(&task.path().join("stat").to_string_lossy()));
    time(stats.filter(|(thread, _)| thread.starts_with(name)).map(|(_, fields)| fields[11] + fields[12]).sum())
}

fn time(ticks: u64) -> Duration {
    Duration::from_secs(ticks) / TICKS_PER_SECOND
}

fn processes() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// Name and the fields behind it, from the third on; see `man 5 proc`. What is no number is 0.
fn stat(path: &str) -> Option<(String, Vec<u64>)> {
    let text = fs::read_to_string(path).ok()?;
    let (head, fields) = text.rsplit_once(')')?;
    let name = head.split_once('(')?.1.to_owned();
    Some((name, fields.split_whitespace().map(|field| field.parse().unwrap_or(0)).collect()))
}

/// A field of `/proc/<pid>/status` that is given in kB, as bytes.
fn status(pid: u32, field: &str) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(field))?;
    line.split_whitespace().next()?.parse::<u64>().ok().map(|kilobytes| kilobytes * 1_024)
}
