//! The image and the stack of containers, as far as their files tell; `tests/stack` runs them.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use angarium_api::config::setting;

fn read(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Lines without comments and white space around them.
fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'))
}

/// Names in `${NAME}`, `${NAME:-default}` and `${NAME:?message}`, with what follows the name.
fn variables(text: &str) -> Vec<(&str, &str)> {
    let inside = text.split("${").skip(1).filter_map(|rest| rest.split_once('}').map(|(inside, _)| inside));
    inside.map(|inside| inside.split_at(inside.find(':').unwrap_or(inside.len()))).collect()
}

#[test]
fn every_variable_of_a_container_is_a_setting() {
    let compose = read("docker-compose.yml");
    let set: BTreeSet<_> = lines(&compose)
        .filter_map(|line| line.split_once(": ").map(|(name, _)| name))
        .filter(|name| name.starts_with("ANGARIUM_"))
        .collect();
    assert!(set.len() > 5, "{set:?}");
    let dockerfile = read("Dockerfile");
    let of_image = lines(&dockerfile).filter_map(|line| line.strip_prefix("ENV ANGARIUM_")?.split_once('='));
    let of_image: Vec<_> = of_image.map(|(name, _)| format!("ANGARIUM_{name}")).collect();
    assert_eq!(of_image.len(), 1);
    for name in set.into_iter().chain(of_image.iter().map(String::as_str)) {
        assert!(setting::find(name).is_some(), "{name}");
    }
}

#[test]
fn the_sample_names_every_variable_of_the_stack_and_asks_for_those_without_a_default() {
    let (compose, sample) = (read("docker-compose.yml"), read(".env.example"));
    // What is needed stands there without a value, and what has a default in a comment with it, or with an example.
    let needed: BTreeSet<_> = lines(&sample).map(|line| line.strip_suffix('=').expect("no value")).collect();
    let optional: BTreeSet<_> = sample
        .lines()
        .filter_map(|line| line.strip_prefix('#')?.split_once('='))
        .filter(|(name, _)| name.chars().all(|letter| letter.is_ascii_uppercase() || letter == '_'))
        .collect();
    let mut used = BTreeSet::new();
    for (name, rest) in variables(&compose) {
        used.insert(name);
        if rest.starts_with(":?") {
            assert!(needed.contains(name), "{name}");
            assert!(rest.contains(&format!("{name} is not set")), "who forgets {name} is not told its name");
        } else {
            let sample = optional.iter().find(|(optional, _)| *optional == name).map(|(_, sample)| *sample);
            let default = rest.strip_prefix(":-").unwrap_or_else(|| panic!("{name} has neither default nor message"));
            let sample = sample.unwrap_or_else(|| panic!("{name} is not in .env.example"));
            // Only a setting of ours may have an example, since its default is in its own table.
            assert!(sample == default || setting::find(name).is_some(), "{name}: {sample}, {default}");
        }
    }
    let named: BTreeSet<_> = needed.iter().copied().chain(optional.iter().map(|(name, _)| *name)).collect();
    assert_eq!(named, used);
}

#[cfg(unix)]
#[test]
fn secrets_are_made_once() {
    let directory = std::env::temp_dir().join(format!("angarium-stack-{}", uuid::Uuid::now_v7().simple()));
    fs::create_dir_all(directory.join("deploy")).expect("the temporary directory is writable");
    fs::write(directory.join(".env.example"), read(".env.example")).expect("written");
    fs::copy(Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/env"), directory.join("deploy/env")).expect("there");
    let make = || std::process::Command::new(directory.join("deploy/env")).output().expect("it runs");
    assert!(make().status.success());
    let made = fs::read_to_string(directory.join(".env")).expect("made");
    let again = make();
    assert!(!again.status.success() && String::from_utf8_lossy(&again.stderr).contains("there already"), "{again:?}");
    assert_eq!(fs::read_to_string(directory.join(".env")).expect("there"), made);
    let pairs: Vec<_> = lines(&made).filter_map(|line| line.split_once('=')).collect();
    let of_ours = pairs.iter().filter(|(name, _)| setting::find(name).is_some());
    let of_ours = of_ours.map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let database = ("ANGARIUM_DATABASE_URL".to_owned(), "sqlite://x.db".to_owned());
    angarium_api::config::Config::read(of_ours.chain([database])).expect("the server takes them");
    assert!(pairs.len() == 4 && pairs.iter().all(|(_, value)| value.len() >= 44), "{made}");
    let mode =
        std::os::unix::fs::PermissionsExt::mode(&fs::metadata(directory.join(".env")).expect("there").permissions());
    assert_eq!(mode & 0o777, 0o600);
    fs::remove_dir_all(directory).expect("it was there");
}

#[test]
fn the_image_is_built_with_the_toolchain_of_the_workspace() {
    let (dockerfile, toolchain) = (read("Dockerfile"), read("rust-toolchain.toml"));
    let version = lines(&toolchain).find_map(|line| line.strip_prefix("channel = \"")?.strip_suffix('"'));
    let minor = version.and_then(|version| version.rsplit_once('.')).expect("three numbers").0;
    assert!(dockerfile.contains(&format!("FROM rust:{minor}-")), "{minor}");
}

#[test]
fn a_node_is_given_the_time_that_a_stop_may_take() {
    let compose = read("docker-compose.yml");
    let number = |name: &str| -> u64 {
        let value = lines(&compose).find_map(|line| line.strip_prefix(name)).expect("it is there");
        value.chars().filter(char::is_ascii_digit).collect::<String>().parse().expect("a number")
    };
    let grace = angarium_api::server::Grace::SERVE;
    let needed = (grace.answers + grace.deliveries).as_secs() + number("ANGARIUM_DRAIN_DELAY:");
    assert!(number("stop_grace_period:") > needed, "{needed}");
}

/// Copies a file, or all of a directory.
fn copy(from: &Path, to: &Path) {
    if from.is_dir() {
        for entry in fs::read_dir(from).expect("it is there").flatten() {
            copy(&entry.path(), &to.join(entry.file_name()));
        }
        return;
    }
    fs::create_dir_all(to.parent().expect("it is in a directory")).expect("the temporary directory is writable");
    fs::copy(from, to).expect("copied");
}

#[cfg(unix)]
#[test]
fn cargo_can_read_the_workspace_that_the_image_is_built_of() {
    let (ignored, dockerfile) = (read(".dockerignore"), read("Dockerfile"));
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let directory = std::env::temp_dir().join(format!("angarium-image-{}", uuid::Uuid::now_v7().simple()));
    let kept = lines(&ignored).filter_map(|line| line.strip_prefix('!')).filter(|name| *name != "playground");
    for name in kept {
        copy(&root.join(name), &directory.join(name));
    }
    let prepare = lines(&dockerfile).find_map(|line| line.strip_prefix("RUN ").filter(|run| run.contains("tests/")));
    let prepare = prepare.expect("what stands in for the tests is made");
    let run = |program: &str, arguments: &[&str]| {
        let output = std::process::Command::new(program).args(arguments).current_dir(&directory).output();
        let output = output.expect("it runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    run("sh", &["-c", prepare]);
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    run(&cargo, &["metadata", "--locked", "--offline", "--no-deps", "--format-version", "1"]);
    fs::remove_dir_all(directory).expect("it was there");
}
