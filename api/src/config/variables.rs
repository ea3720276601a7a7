//! Settings as they were given, and where each came from: the command line before the environment before the
//! configuration file.
//!
//! Shape   the file has lines `NAME=value`, as `docker --env-file` takes them; empty lines and those that begin with `#`
//!         are left out, and a value may stand in `"` or `'`. Nothing in it is expanded.
//! Secrets `NAME_FILE` names a file with the value of `NAME`, for each setting that holds a secret.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use super::reader::Problem;
use super::setting::{self, Setting};

/// What the name of every setting starts with.
const PREFIX: &str = "ANGARIUM_";
/// Kubernetes tells every container of a namespace about a Service called `angarium` by names that start so.
const OF_KUBERNETES: [&str; 2] = ["ANGARIUM_SERVICE_", "ANGARIUM_PORT"];
/// Largest file that is read as settings.
const FILE_BYTES_MAX: u64 = 64 * 1024;

/// Settings as they were given.
#[derive(Clone, Default)]
pub struct Variables {
    given: BTreeMap<String, Given>,
    problems: Vec<Problem>,
}

/// The text of a setting.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Given {
    pub(super) text: String,
    pub(super) origin: Origin,
}

/// Where a setting came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// An argument of this call.
    CommandLine,
    /// A variable of the environment.
    Environment,
    /// A line of the configuration file, from 1.
    Line(PathBuf, usize),
    /// The whole of a file.
    Secret(PathBuf),
    /// What `dev` makes and finds again.
    Dev,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CommandLine => f.write_str("command line"),
            Self::Environment => f.write_str("environment"),
            Self::Line(path, line) => write!(f, "{}:{line}", path.display()),
            Self::Secret(path) => write!(f, "{}", path.display()),
            Self::Dev => f.write_str("dev"),
        }
    }
}

impl Variables {
    /// What this process was given: its environment, and the file named by `config_file` or `ANGARIUM_CONFIG_FILE`.
    /// What cannot be read is a problem that [`super::Config::of`] tells of with the others.
    pub fn find(config_file: Option<&Path>) -> Self {
        let mut problems = Vec::new();
        let mut pairs = Vec::new();
        for (name, value) in std::env::vars_os() {
            let Ok(name) = name.into_string() else { continue };
            match value.into_string() {
                Ok(value) => pairs.push((name, value)),
                Err(_) if is_ours(&name) => problems.push(Problem::NotText { name }),
                Err(_) => {}
            }
        }
        let mut variables = Self::of_environment(pairs);
        if let Some(path) = config_file.and_then(Path::to_str) {
            variables.set(&setting::CONFIG_FILE, path.to_owned(), Origin::CommandLine);
        }
        variables.problems.append(&mut problems);
        let named = variables.text(&setting::CONFIG_FILE).map(PathBuf::from);
        if let Some(path) = config_file.map(Path::to_owned).or(named) {
            variables.add_file(&path);
        }
        variables
    }

    /// Variables of an environment; those of others are left out, and so is an empty one: that is how compose files pass
    /// on nothing.
    pub(super) fn of_environment(pairs: impl IntoIterator<Item = (String, String)>) -> Self {
        let mut variables = Self::default();
        for (name, value) in pairs.into_iter().filter(|(name, _)| is_ours(name)) {
            variables.insert(name, &value, Origin::Environment);
        }
        variables.open_secrets();
        variables
    }

    /// Adds what the file at `path` sets and nothing else has.
    fn add_file(&mut self, path: &Path) {
        let text = match read(path) {
            Ok(text) => text,
            Err(error) => return self.problems.push(Problem::Unreadable { path: path.to_owned(), error }),
        };
        let mut of_file = Self::default();
        for (place, line) in text.lines().enumerate().map(|(place, line)| (place + 1, line.trim())) {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let parsed = line.split_once('=').map(|(name, value)| (name.trim_end(), unquote(value.trim())));
            let Some((name, Some(value))) = parsed else {
                self.problems.push(Problem::Line { path: path.to_owned(), line: place });
                continue;
            };
            if of_file.given.contains_key(name) || name == setting::CONFIG_FILE.name {
                self.problems.push(Problem::Line { path: path.to_owned(), line: place });
                continue;
            }
            of_file.insert(name.to_owned(), value, Origin::Line(path.to_owned(), place));
        }
        of_file.open_secrets();
        self.problems.append(&mut of_file.problems);
        for (name, given) in of_file.given {
            self.given.entry(name).or_insert(given);
        }
    }

    /// Reads the files that `NAME_FILE` names.
    fn open_secrets(&mut self) {
        for setting in setting::ALL {
            let Some(named) = setting.file_name() else { continue };
            let Some(file) = self.given.remove(&named) else { continue };
            if self.given.contains_key(setting.name) {
                self.problems.push(Problem::Twice { name: setting.name });
                continue;
            }
            let path = PathBuf::from(file.text);
            match read(&path) {
                Ok(text) if text.trim().is_empty() => {
                    self.problems.push(Problem::Malformed {
                        name: setting.name,
                        wrong: format!("is empty in {}, which {named} names", path.display()),
                    });
                }
                Ok(text) => self.insert(setting.name.to_owned(), &text, Origin::Secret(path)),
                Err(error) => self.problems.push(Problem::Unreadable { path, error }),
            }
        }
    }

    fn insert(&mut self, name: String, text: &str, origin: Origin) {
        let text = text.trim();
        if !text.is_empty() {
            self.given.insert(name, Given { text: text.to_owned(), origin });
        }
    }

    /// Sets what stands above the environment.
    pub fn set(&mut self, setting: &Setting, text: String, origin: Origin) {
        self.given.insert(setting.name.to_owned(), Given { text, origin });
    }

    /// Sets what holds unless something else was given.
    pub fn set_default(&mut self, setting: &Setting, text: String, origin: Origin) {
        self.given.entry(setting.name.to_owned()).or_insert(Given { text, origin });
    }

    /// What was given for a setting.
    pub fn text(&self, setting: &Setting) -> Option<&str> {
        self.given.get(setting.name).map(|given| given.text.as_str())
    }

    pub(super) fn given(&self, setting: &Setting) -> Option<&Given> {
        self.given.get(setting.name)
    }

    /// Everything that was given, and what was wrong with how.
    pub(super) fn into_parts(self) -> (BTreeMap<String, Given>, Vec<Problem>) {
        (self.given, self.problems)
    }
}

fn is_ours(name: &str) -> bool {
    name.starts_with(PREFIX) && !OF_KUBERNETES.iter().any(|not_ours| name.starts_with(not_ours))
}

/// The text of a small file.
fn read(path: &Path) -> Result<String, String> {
    let reading = || -> io::Result<String> {
        let mut text = String::new();
        File::open(path)?.take(FILE_BYTES_MAX + 1).read_to_string(&mut text)?;
        Ok(text)
    };
    match reading() {
        Ok(text) if text.len() as u64 > FILE_BYTES_MAX => Err(format!("it is larger than {FILE_BYTES_MAX} bytes")),
        Ok(text) => Ok(text),
        Err(error) => Err(error.to_string()),
    }
}

/// A value without the quotes around it. None when only one end has them.
fn unquote(value: &str) -> Option<&str> {
    for quote in ['"', '\''] {
        if value.starts_with(quote) || (value.len() > 1 && value.ends_with(quote)) {
            return value.strip_prefix(quote)?.strip_suffix(quote);
        }
    }
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file that is removed with it.
    struct Written(PathBuf);

    impl Written {
        fn new(text: &str) -> Self {
            let path = std::env::temp_dir().join(format!("angarium-variables-{}", uuid::Uuid::now_v7()));
            std::fs::write(&path, text).expect("the temporary directory can be written");
            Self(path)
        }
    }

    impl Drop for Written {
        fn drop(&mut self) {
            std::fs::remove_file(&self.0).expect("it was made");
        }
    }

    fn environment(pairs: &[(&str, &str)]) -> Variables {
        Variables::of_environment(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())))
    }

    #[test]
    fn the_environment_wins_over_the_file_unless_it_is_empty() {
        let file =
            Written::new("# ours\nANGARIUM_LOG='warn'\n\n ANGARIUM_LOG_FORMAT = \"json\" \nANGARIUM_LISTEN=[::1]:1\n");
        let mut variables = environment(&[("ANGARIUM_LOG", "debug"), ("ANGARIUM_LISTEN", " ")]);
        variables.add_file(&file.0);
        assert_eq!(variables.problems, []);
        assert_eq!(variables.text(&setting::LOG), Some("debug"));
        assert_eq!(variables.text(&setting::LOG_FORMAT), Some("json"));
        assert_eq!(variables.text(&setting::LISTEN), Some("[::1]:1"));
        let origin = &variables.given(&setting::LOG_FORMAT).expect("given").origin;
        assert_eq!(*origin, Origin::Line(file.0.clone(), 4));
    }

    #[test]
    fn a_line_that_sets_nothing_or_twice_is_refused_by_its_number() {
        let file =
            Written::new("ANGARIUM_LOG=info\nwhat\nANGARIUM_LOG=warn\nANGARIUM_LISTEN=\"x\nANGARIUM_CONFIG_FILE=y\n");
        let mut variables = Variables::default();
        variables.add_file(&file.0);
        let lines: Vec<_> = variables.problems.iter().map(ToString::to_string).collect();
        for (line, message) in [2, 3, 4, 5].iter().zip(&lines) {
            assert!(message.starts_with(&format!("{}:{line} ", file.0.display())), "{message}");
        }
        assert_eq!(lines.len(), 4, "{lines:?}");
    }

    #[test]
    fn a_secret_is_read_from_the_file_that_is_named() {
        let secret = Written::new("hush\n");
        let path = secret.0.to_str().expect("text");
        let variables = environment(&[("ANGARIUM_ADMIN_KEY_FILE", path)]);
        assert_eq!(variables.text(&setting::ADMIN_KEY), Some("hush"));
        assert!(variables.problems.is_empty());
        let twice = environment(&[("ANGARIUM_ADMIN_KEY_FILE", path), ("ANGARIUM_ADMIN_KEY", "x")]);
        assert_eq!(twice.problems, [Problem::Twice { name: "ANGARIUM_ADMIN_KEY" }]);
        let absent = environment(&[("ANGARIUM_ADMIN_KEY_FILE", "/nowhere/at/all")]);
        assert!(absent.problems[0].to_string().contains("/nowhere/at/all"), "{:?}", absent.problems);
        assert!(environment(&[("ANGARIUM_LOG_FILE", path)]).given.contains_key("ANGARIUM_LOG_FILE"), "not a secret");
    }
}
