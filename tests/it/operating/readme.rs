//! Every command that README.md shows is run: here, or by a test that is named here. What takes too long for that, or more
//! than a machine has, is run by `tests/long`, and only looked through here: [`LONG`].

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use angarium_tests::app::create_database;
use angarium_tests::process::{Process, program};
use regex::Regex;

/// How a command is known to work.
#[derive(Clone, Copy, Debug)]
enum Run {
    /// A test of this file runs it; it has this name.
    Here(&'static str),
    /// This file runs it, with these words.
    By(&'static str, &'static str),
    /// No test, but `tests/long`.
    Long,
}
use Run::{By, Here, Long};

const CLI: &str = "tests/it/operating/cli.rs";
const STACK: &str = "tests/stack";
const BENCH: Run = Here("the_benchmark_knows_every_scenario_and_option_that_the_page_names");
const PRODUCTION: Run = Here("the_commands_of_production_start_a_server");
const SCRIPT: Run = Here("every_script_of_the_page_is_one_that_bash_reads");

/// Commands of the page that only `tests/long` runs: they want a nightly toolchain, packages of Python, an engine of
/// containers, or a machine of their own for minutes.
const LONG: [&str; 5] = ["tests/fuzz/parsers", "tests/fuzz/run", "tests/chaos", "tests/bench", "tests/stack"];

/// Each command as the page shows it, without its comment.
const COMMANDS: &[(&str, &[Run])] = &[
    (
        "cargo run -- dev",
        &[Here("the_program_that_cargo_runs_is_the_one_of_the_tests"), By("tests/it/http/dev.rs", r#"&["dev"]"#)],
    ),
    ("tests/run", &[SCRIPT, By("tests/run", "cargo nextest run --workspace --no-fail-fast")]),
    ("tests/fuzz/run", &[SCRIPT, Long]),
    ("tests/fuzz/parsers", &[SCRIPT, Long]),
    ("tests/long", &[SCRIPT, Here("the_long_command_runs_what_no_test_does_and_goes_on_behind_what_fails")]),
    (
        "tests/chaos 60",
        &[
            SCRIPT,
            Long,
            By("tests/it/chaos.rs", "chaos::scenario::{Run, Scenario}"),
            Here("chaos_takes_the_seconds_of_the_page"),
        ],
    ),
    ("angarium serve", &[PRODUCTION]),
    ("angarium check", &[PRODUCTION]),
    ("angarium migrate", &[PRODUCTION]),
    ("export ANGARIUM_DATABASE_URL=postgres://user:password@host/database", &[PRODUCTION]),
    ("export ANGARIUM_ADMIN_KEY=sk_live_$(openssl rand -hex 32)", &[PRODUCTION]),
    ("export ANGARIUM_ENCRYPTION_KEY=$(openssl rand -base64 32)", &[PRODUCTION]),
    ("angarium migrate && angarium check && angarium serve", &[PRODUCTION]),
    ("angarium config", &[PRODUCTION]),
    ("angarium send", &[By(CLI, r#"run(&["send", "invoice.paid", file"#)]),
    ("angarium listen http://localhost:3000/webhooks", &[By(CLI, r#"["listen", local.url(), "#)]),
    (
        "deploy/env",
        &[
            SCRIPT,
            By("tests/it/operating/stack.rs", r#"join("deploy/env")).output()"#),
            By(STACK, r#""$dir/stack/deploy/env""#),
        ],
    ),
    ("docker compose up -d", &[By(STACK, "compose up --detach")]),
    ("deploy/play", &[SCRIPT, By(STACK, r#""$dir/stack/deploy/play""#)]),
    ("tests/stack", &[SCRIPT, Long]),
    ("tests/bench", &[SCRIPT, Long, BENCH]),
    ("tests/bench list", &[BENCH]),
    (
        "tests/bench hanging-same hanging-other single batch fanout fifo strict backlog-fifo backlog-strict steady",
        &[BENCH],
    ),
    ("--store sqlite", &[BENCH]),
    ("--runs 3", &[BENCH]),
    ("--config", &[By("api/tests/cli.rs", r#""--config""#)]),
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("it lies in the workspace").to_owned()
}

fn read(name: &str) -> String {
    fs::read_to_string(root().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The blocks of shell, and the page without any block.
fn parts(page: &str) -> (Vec<String>, String) {
    let (mut blocks, mut text) = (Vec::new(), String::new());
    for (number, part) in page.split("```").enumerate() {
        match part.split_once('\n') {
            Some(("sh", block)) if number % 2 == 1 => blocks.push(block.to_owned()),
            _ if number % 2 == 1 => {}
            _ => text.push_str(part),
        }
    }
    (blocks, text)
}

/// Every command that the page shows: lines of shell, and what is set as code and begins like one.
fn shown() -> BTreeSet<String> {
    let (blocks, text) = parts(&read("README.md"));
    let mut commands = BTreeSet::new();
    for line in blocks.iter().flat_map(|block| block.lines()) {
        let command = line.split(" # ").next().unwrap_or_default().trim();
        if !command.is_empty() {
            commands.insert(command.to_owned());
        }
    }
    let code = Regex::new(r"`([^`]+)`").expect("a pattern");
    for found in code.captures_iter(&text) {
        let words: Vec<_> = found[1].split_whitespace().collect();
        let is_script =
            |word: &str| root().join(word).is_file() && (word.starts_with("tests/") || word.starts_with("deploy/"));
        let is_program = words.len() > 1 && ["angarium", "cargo", "docker", "curl", "bash", "npm"].contains(&words[0]);
        if is_program || words[0].starts_with("--") || is_script(words[0]) {
            commands.insert(words.join(" "));
        }
    }
    commands
}

fn bash(arguments: &[&str]) -> Output {
    Command::new("bash").args(arguments).output().expect("bash runs")
}

#[test]
fn every_command_is_run_by_a_test() {
    let shown = shown();
    assert!(shown.len() > 20, "the page shows some: {shown:?}");
    let listed: BTreeSet<_> = COMMANDS.iter().map(|(command, _)| (*command).to_owned()).collect();
    let untested: Vec<_> = shown.difference(&listed).collect();
    assert!(untested.is_empty(), "README.md shows what no test runs; run it, and say in this file where: {untested:?}");
    let gone: Vec<_> = listed.difference(&shown).collect();
    assert!(gone.is_empty(), "README.md does not show this any more: {gone:?}");
    let here = read("tests/it/operating/readme.rs");
    for (command, runs) in COMMANDS {
        assert!(!runs.is_empty(), "{command}");
        for run in *runs {
            match run {
                Here(test) => assert!(here.contains(&format!("fn {test}(")), "{command}: no test is called {test}"),
                Long => assert!(LONG.contains(&command.split(' ').next().unwrap_or_default()), "{command}"),
                By(file, words) => assert!(read(file).contains(words), "{command}: {file} does not say `{words}`"),
            }
        }
    }
}

#[test]
fn every_script_of_the_page_is_one_that_bash_reads() {
    use std::os::unix::fs::PermissionsExt as _;
    let scripts = shown().into_iter().filter_map(|command| {
        let path = root().join(command.split(' ').next()?);
        path.is_file().then_some(path)
    });
    let scripts: BTreeSet<_> = scripts.collect();
    assert!(scripts.len() > 5, "there are some: {scripts:?}");
    for script in scripts {
        let mode = fs::metadata(&script).expect("it is there").permissions().mode();
        assert_eq!(mode & 0o111, 0o111, "{} may be run", script.display());
        let parsed = bash(&["-n", script.to_str().expect("text")]);
        assert!(parsed.status.success(), "{parsed:?}");
    }
}

/// Of several programs `cargo run` takes the one that a member names, and refuses where none or two do.
#[test]
fn the_program_that_cargo_runs_is_the_one_of_the_tests() {
    let asked = ["metadata", "--no-deps", "--offline", "--format-version", "1"];
    let told = Command::new(env!("CARGO")).args(asked).current_dir(root()).output().expect("cargo runs");
    let told: serde_json::Value = serde_json::from_slice(&told.stdout).expect("JSON");
    let by_default = told["workspace_default_members"].as_array().expect("a list");
    let packages = told["packages"].as_array().expect("a list");
    let run = packages.iter().filter(|package| by_default.contains(&package["id"]));
    let programs: Vec<_> = run.filter_map(|package| package["default_run"].as_str()).collect();
    assert_eq!(programs, [program().file_stem().and_then(|name| name.to_str()).expect("text")]);
}

/// A copy of it, among scripts that only note that they were run, and of which one fails.
#[test]
fn the_long_command_runs_what_no_test_does_and_goes_on_behind_what_fails() {
    use std::os::unix::fs::PermissionsExt as _;
    let directory = std::env::temp_dir().join(format!("angarium-test-{}", uuid::Uuid::now_v7().simple()));
    fs::create_dir_all(directory.join("tests/fuzz")).expect("the temporary directory is writable");
    let script = |name: &str, text: &str| {
        let path = directory.join(name);
        fs::write(&path, text).expect("it is writable");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("it is ours");
    };
    script("tests/long", &read("tests/long"));
    for failing in ["none", "tests/fuzz/run"] {
        for name in LONG {
            let status = i32::from(name == failing);
            script(name, &format!("#!/bin/sh\necho {name} \"$@\" >>ran\nexit {status}\n"));
        }
        let ran = Command::new(directory.join("tests/long")).arg("7").output().expect("it runs");
        assert_eq!(ran.status.success(), failing == "none", "{ran:?}");
        let order = fs::read_to_string(directory.join("ran")).expect("they were run");
        fs::remove_file(directory.join("ran")).expect("it was there");
        assert_eq!(
            order.lines().map(str::trim).collect::<Vec<_>>(),
            ["tests/fuzz/parsers 7", "tests/fuzz/run 7", "tests/chaos 7", "tests/bench all", "tests/stack"]
        );
        assert_eq!(String::from_utf8_lossy(&ran.stdout).matches("failed ").count(), usize::from(failing != "none"));
    }
    fs::remove_dir_all(directory).expect("it was there");
}

#[test]
fn the_benchmark_knows_every_scenario_and_option_that_the_page_names() {
    let bench = |arguments: &[&str]| {
        let ran = Command::new(env!("CARGO_BIN_EXE_bench")).args(arguments).output().expect("it runs");
        assert!(ran.status.success(), "{arguments:?}: {ran:?}");
        String::from_utf8(ran.stdout).expect("text")
    };
    let (scenarios, help) = (bench(&["list"]), bench(&["--help"]));
    let names: BTreeSet<_> = scenarios.lines().filter_map(|line| line.split_whitespace().next()).collect();
    for command in shown() {
        let words: Vec<_> = command.split(' ').collect();
        match words[..] {
            ["tests/bench", "list"] => {}
            ["tests/bench", ref asked @ ..] => {
                for name in asked {
                    assert!(names.contains(name), "{name}: {scenarios}");
                }
            }
            [option @ ("--store" | "--runs"), _] => assert!(help.contains(option), "{option}: {help}"),
            _ => {}
        }
    }
}

#[test]
fn chaos_takes_the_seconds_of_the_page() {
    // No run has this name, so none is made.
    let ran = Command::new(env!("CARGO_BIN_EXE_chaos")).args(["60", "no run is called so"]).output().expect("it runs");
    let told = String::from_utf8(ran.stdout).expect("text");
    assert!(ran.status.success() && told.contains("60 s each"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_commands_of_production_start_a_server() {
    let unique = uuid::Uuid::now_v7().simple().to_string();
    let url = create_database(&unique).await;
    let (blocks, _) = parts(&read("README.md"));
    let block = blocks.iter().find(|block| block.contains("angarium migrate && ")).expect("it is shown");
    // The database is the reader's own, and so is the program's place. What comes last takes the place of the shell.
    let script = block
        .replace("postgres://user:password@host/database", &url)
        .replace("&& angarium serve", "&& angarium config >settings && exec angarium serve");
    assert!(script.contains(&url) && script.contains("exec angarium serve"), "{script}");
    let directory = std::env::temp_dir().join(format!("angarium-test-{unique}"));
    fs::create_dir_all(&directory).expect("the temporary directory is writable");
    let beside = program().parent().expect("it lies in a folder").display();
    let path = format!("{beside}:{}", std::env::var("PATH").expect("there is one"));
    let settings = [("PATH", &*path), ("ANGARIUM_LISTEN", "127.0.0.1:0")];
    let script = format!("set -euo pipefail\n{script}");
    let process = Process::start_program(Path::new("bash"), &directory, &["-c", &script], &settings);
    let ready = format!("{}/health/ready", process.base());
    let answer = angarium_tests::client::http_client().get(ready).send().await.expect("it answers");
    assert_eq!(answer.status().as_u16(), 200);
    let told = fs::read_to_string(directory.join("settings")).expect("`angarium config` has written it");
    assert!(told.contains("ANGARIUM_DATABASE_URL=postgres://"), "{told}");
    assert!(!Regex::new("sk_live_[0-9a-f]{64}").expect("a pattern").is_match(&told), "the key is hidden");
    drop(process);
    fs::remove_dir_all(directory).expect("it was there");
}
