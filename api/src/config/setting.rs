//! Every setting: its name, what it takes, its unit, range and default, and what it means. There is no other place for
//! any of these: the sections read by this table, `angarium config` prints it, and so does `api/docs/configuration.md`.

#![expect(missing_docs, reason = "the constants say what they mean in a field")]

use Otherwise::{Needed, None, Value};
use Takes::{Boolean, Number, OneOf, Text};

/// One setting.
#[derive(Debug, PartialEq, Eq)]
pub struct Setting {
    /// The name of its variable.
    pub name: &'static str,
    /// What it means, in a phrase.
    pub means: &'static str,
    /// What its values are.
    pub takes: Takes,
    /// What holds while it is not set.
    pub otherwise: Otherwise,
    /// Whether it may be shown.
    pub shown: Shown,
}

/// What the values of a setting are.
#[derive(Debug, PartialEq, Eq)]
pub enum Takes {
    /// `true` or `false`.
    Boolean,
    /// A whole number.
    Number {
        /// What is counted.
        unit: &'static str,
        /// The smallest.
        min: u64,
        /// The largest.
        max: u64,
    },
    /// One of some words.
    OneOf(&'static [&'static str]),
    /// Something that is described.
    Text(&'static str),
}

/// What holds while a setting is not set.
#[derive(Debug, PartialEq, Eq)]
pub enum Otherwise {
    /// This value.
    Value(&'static str),
    /// What is described.
    None(&'static str),
    /// A server does not start; the phrase says what `dev` does.
    Needed(&'static str),
}

/// How much of a value may be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shown {
    /// All of it.
    Whole,
    /// A URL, without the password and the query in it.
    WithoutPassword,
    /// Nothing.
    Never,
}

impl Setting {
    /// The name of the variable that names a file with the value, for what must not be in the environment.
    pub fn file_name(&self) -> Option<String> {
        (self.shown != Shown::Whole).then(|| format!("{}_FILE", self.name))
    }

    /// `value` as others may see it.
    pub fn show(&self, value: &str) -> String {
        match self.shown {
            Shown::Whole => value.to_owned(),
            Shown::WithoutPassword => without_password(value),
            Shown::Never => HIDDEN.to_owned(),
        }
    }
}

const HIDDEN: &str = "***";

/// A URL may name several hosts (`a:1,b:2`), which no parser of URLs takes, and its password may hold any letter.
fn without_password(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return HIDDEN.to_owned() };
    let (user, place) = match rest.rsplit_once('@') {
        Some((login, place)) => (login.split(':').next().map(|user| format!("{user}:{HIDDEN}@")), place),
        Option::None => (Option::None, rest),
    };
    let (place, query) = match place.split_once('?') {
        Some((place, _)) => (place, "?***"),
        Option::None => (place, ""),
    };
    format!("{scheme}://{}{place}{query}", user.unwrap_or_default())
}

/// The setting called `name`.
pub fn find(name: &str) -> Option<&'static Setting> {
    ALL.iter().find(|setting| setting.name == name).copied()
}

/// Every setting, in the order of the reference.
pub const ALL: &[&Setting] = &[
    &LISTEN,
    &PUBLIC_URL,
    &CORS_ORIGINS,
    &METRICS_LISTEN,
    &DRAIN_DELAY,
    &DATABASE_URL,
    &DATABASE_CONNECTIONS,
    &REDIS_URL,
    &ADMIN_KEY,
    &ENCRYPTION_KEY,
    &PREVIOUS_ENCRYPTION_KEYS,
    &ALLOW_HTTP,
    &ALLOW_CIDRS,
    &NAME_SERVERS,
    &PROXY_URL,
    &ARBITERS,
    &IN_FLIGHT_MAX,
    &REQUESTS_PER_SECOND,
    &API_KEYS_MAX,
    &ENDPOINTS_MAX,
    &SUBSCRIPTIONS_MAX,
    &URL,
    &API_KEY,
    &LOG,
    &LOG_FORMAT,
    &OTLP_ENDPOINT,
    &OTLP_HEADERS,
    &TRACE_SAMPLE_RATIO,
    &SEND_TRACEPARENT,
    &CONFIG_FILE,
];

pub const LISTEN: Setting = Setting {
    name: "ANGARIUM_LISTEN",
    means: "where the API listens",
    takes: Text("an address and a port"),
    otherwise: Value("127.0.0.1:8080"),
    shown: Shown::Whole,
};
pub const PUBLIC_URL: Setting = Setting {
    name: "ANGARIUM_PUBLIC_URL",
    means: "how links in confirmation messages reach this server; a path stays before theirs",
    takes: Text("an absolute URL such as `https://hooks.example.com`"),
    otherwise: None("`http://` and the address that it listens at"),
    shown: Shown::Whole,
};
pub const CORS_ORIGINS: Setting = Setting {
    name: "ANGARIUM_CORS_ORIGINS",
    means: "pages that may call and open streams, besides programs, which send no `Origin`",
    takes: Text("origins such as `https://app.example.com`, with commas"),
    otherwise: None("its own origin; `dev`: both `localhost` and `127.0.0.1`"),
    shown: Shown::Whole,
};
pub const METRICS_LISTEN: Setting = Setting {
    name: "ANGARIUM_METRICS_LISTEN",
    means: "where `/metrics` and `/health` are served to those who watch, and `/metrics` nowhere else",
    takes: Text("an address and a port"),
    otherwise: None("`/metrics` beside the API, to this machine only"),
    shown: Shown::Whole,
};
pub const DRAIN_DELAY: Setting = Setting {
    name: "ANGARIUM_DRAIN_DELAY",
    means: "how long everything is still served after SIGTERM, while `/health/ready` says no, so that load balancers send \
            their requests elsewhere first",
    takes: Number { unit: "seconds", min: 0, max: 300 },
    otherwise: Value("0"),
    shown: Shown::Whole,
};
pub const DATABASE_URL: Setting = Setting {
    name: "ANGARIUM_DATABASE_URL",
    means: "where the rows are",
    takes: Text("`sqlite://angarium.db` or `postgres://user:password@host/database`"),
    otherwise: Needed("makes `angarium.db` where it is started"),
    shown: Shown::WithoutPassword,
};
pub const DATABASE_CONNECTIONS: Setting = Setting {
    name: "ANGARIUM_DATABASE_CONNECTIONS",
    means: "most connections to PostgreSQL",
    takes: Number { unit: "connections", min: 2, max: 1_000 },
    otherwise: Value("10"),
    shown: Shown::Whole,
};
pub const REDIS_URL: Setting = Setting {
    name: "ANGARIUM_REDIS_URL",
    means: "Redis 7 or newer, which holds retry schedules and by which nodes tell each other of what they do",
    takes: Text(
        "`redis://[user:password@]host[:6379][/db]` (`rediss://` with TLS), \
         `redis+sentinel://host[:26379],host/master` or `redis+cluster://host[:6379],host`",
    ),
    otherwise: None("none: schedules are read from the rows, and nodes look at each other's work every second"),
    shown: Shown::WithoutPassword,
};
pub const ADMIN_KEY: Setting = Setting {
    name: "ANGARIUM_ADMIN_KEY",
    means: "the operator's own key, which may do everything in every workspace",
    takes: Text("`sk_live_` and 64 lower-case hex digits"),
    otherwise: Needed("makes one"),
    shown: Shown::Never,
};
pub const ENCRYPTION_KEY: Setting = Setting {
    name: "ANGARIUM_ENCRYPTION_KEY",
    means: "seals signing secrets and secret headers in the database; without it none of them opens again",
    takes: Text("32 bytes in base64"),
    otherwise: Needed("makes one"),
    shown: Shown::Never,
};
pub const PREVIOUS_ENCRYPTION_KEYS: Setting = Setting {
    name: "ANGARIUM_PREVIOUS_ENCRYPTION_KEYS",
    means: "keys that still open what was sealed under them, until `angarium reencrypt` has sealed it anew",
    takes: Text("keys of 32 bytes in base64 with commas between"),
    otherwise: None("none"),
    shown: Shown::Never,
};
pub const ALLOW_HTTP: Setting = Setting {
    name: "ANGARIUM_ALLOW_HTTP",
    means: "whether `http://` endpoints are accepted; `dev` always does",
    takes: Boolean,
    otherwise: Value("false"),
    shown: Shown::Whole,
};
pub const ALLOW_CIDRS: Setting = Setting {
    name: "ANGARIUM_ALLOW_CIDRS",
    means: "networks that endpoints may be in although they are not public; `dev` adds this machine",
    takes: Text("networks such as `10.1.0.0/16`, with commas"),
    otherwise: None("none"),
    shown: Shown::Whole,
};
pub const NAME_SERVERS: Setting = Setting {
    name: "ANGARIUM_NAME_SERVERS",
    means: "name servers that are asked for the addresses of endpoints; `/etc/hosts` goes first, and the search list is \
            not used",
    takes: Text("addresses with commas between, such as `10.0.0.2,10.0.0.3:5353`"),
    otherwise: None("those of `/etc/resolv.conf`"),
    shown: Shown::Whole,
};
pub const PROXY_URL: Setting = Setting {
    name: "ANGARIUM_PROXY_URL",
    means: "HTTP proxy that every delivery goes through; names are resolved and addresses checked first, and it is asked \
            (`CONNECT`) for the address",
    takes: Text("a URL such as `http://user:password@proxy.internal:3128`"),
    otherwise: None("none, whatever `HTTPS_PROXY` says"),
    shown: Shown::WithoutPassword,
};
pub const ARBITERS: Setting = Setting {
    name: "ANGARIUM_ARBITERS",
    means: "threads that send, each with its own HTTP client",
    takes: Number { unit: "threads", min: 1, max: 64 },
    otherwise: None("the number of cores"),
    shown: Shown::Whole,
};
pub const IN_FLIGHT_MAX: Setting = Setting {
    name: "ANGARIUM_IN_FLIGHT_MAX",
    means: "most requests in flight on each of them",
    takes: Number { unit: "requests", min: 1, max: 100_000 },
    otherwise: Value("2000"),
    shown: Shown::Whole,
};
pub const REQUESTS_PER_SECOND: Setting = Setting {
    name: "ANGARIUM_REQUESTS_PER_SECOND",
    means: "most operations of one API key with its access tokens, on each node; one second's worth may come at once, and \
            more are refused as THROTTLED (429)",
    takes: Number { unit: "operations a second", min: 1, max: 100_000 },
    otherwise: None("no limit"),
    shown: Shown::Whole,
};
/// Largest value of each limit of a workspace.
const IN_WORKSPACE_MAX: u64 = 10_000_000;
pub const API_KEYS_MAX: Setting = Setting {
    name: "ANGARIUM_API_KEYS_MAX",
    means: "most API keys of a workspace that work",
    takes: Number { unit: "keys", min: 1, max: IN_WORKSPACE_MAX },
    otherwise: Value("1000"),
    shown: Shown::Whole,
};
pub const ENDPOINTS_MAX: Setting = Setting {
    name: "ANGARIUM_ENDPOINTS_MAX",
    means: "most endpoints of a workspace",
    takes: Number { unit: "endpoints", min: 1, max: IN_WORKSPACE_MAX },
    otherwise: Value("200000"),
    shown: Shown::Whole,
};
pub const SUBSCRIPTIONS_MAX: Setting = Setting {
    name: "ANGARIUM_SUBSCRIPTIONS_MAX",
    means: "most subscriptions of a workspace",
    takes: Number { unit: "subscriptions", min: 1, max: IN_WORKSPACE_MAX },
    otherwise: Value("200000"),
    shown: Shown::Whole,
};
pub const URL: Setting = Setting {
    name: "ANGARIUM_URL",
    means: "the server that `angarium send` and `angarium listen` call",
    takes: Text("an absolute URL such as `https://hooks.example.com`"),
    otherwise: Value("http://127.0.0.1:8080"),
    shown: Shown::Whole,
};
pub const API_KEY: Setting = Setting {
    name: "ANGARIUM_API_KEY",
    means: "the key that they call it with; a server has no use for it",
    takes: Text("`sk_live_` and 64 lower-case hex digits"),
    otherwise: None("none; they need one"),
    shown: Shown::Never,
};
pub const LOG: Setting = Setting {
    name: "ANGARIUM_LOG",
    means: "which lines are logged, to standard error",
    takes: Text("a filter such as `info` or `warn,angarium_dispatcher=debug`"),
    otherwise: Value("info"),
    shown: Shown::Whole,
};
pub const LOG_FORMAT: Setting = Setting {
    name: "ANGARIUM_LOG_FORMAT",
    means: "how they look: for people, or one JSON object on each line",
    takes: OneOf(&["text", "json"]),
    otherwise: Value("text"),
    shown: Shown::Whole,
};
pub const OTLP_ENDPOINT: Setting = Setting {
    name: "ANGARIUM_OTLP_ENDPOINT",
    means: "collector of OpenTelemetry that traces are sent to, with OTLP over HTTP as protobuf, at `/v1/traces` below it",
    takes: Text("a URL such as `http://collector.internal:4318`"),
    otherwise: None("none: nothing is traced"),
    shown: Shown::Whole,
};
pub const OTLP_HEADERS: Setting = Setting {
    name: "ANGARIUM_OTLP_HEADERS",
    means: "headers that the collector wants to see, such as a key",
    takes: Text("`name=value` with commas between; in a value `%20` is a space and `%2C` a comma"),
    otherwise: None("none"),
    shown: Shown::Never,
};
pub const TRACE_SAMPLE_RATIO: Setting = Setting {
    name: "ANGARIUM_TRACE_SAMPLE_RATIO",
    means: "the share that is recorded of the traces that begin here; where the caller is in a trace, it is recorded if the \
            caller records it",
    takes: Text("a number from `0` to `1`"),
    otherwise: Value("1"),
    shown: Shown::Whole,
};
pub const SEND_TRACEPARENT: Setting = Setting {
    name: "ANGARIUM_SEND_TRACEPARENT",
    means: "whether endpoints are sent `traceparent` and `tracestate`: of the attempt where it is traced, otherwise those that \
            the event was published with",
    takes: Boolean,
    otherwise: Value("true"),
    shown: Shown::Whole,
};
pub const CONFIG_FILE: Setting = Setting {
    name: "ANGARIUM_CONFIG_FILE",
    means: "a file of settings, as `--config` names one; what is in the environment wins",
    takes: Text("a path"),
    otherwise: None("none"),
    shown: Shown::Whole,
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unlike_each_other_and_none_is_the_file_of_another() {
        for (place, setting) in ALL.iter().enumerate() {
            assert!(setting.name.starts_with("ANGARIUM_"), "{}", setting.name);
            let later = &ALL[place + 1..];
            assert!(later.iter().all(|other| other.name != setting.name), "{}", setting.name);
            assert!(ALL.iter().all(|other| other.file_name().as_deref() != Some(setting.name)), "{}", setting.name);
        }
    }

    #[test]
    fn a_url_is_shown_without_its_password() {
        for (url, shown) in [
            ("postgres://ann:hush@db:5432/x", "postgres://ann:***@db:5432/x"),
            ("postgres://ann:hu@sh/:x@db/x?password=hush", "postgres://ann:***@db/x?***"),
            ("redis+sentinel://ann:hush@h1:26379,h2/main/0", "redis+sentinel://ann:***@h1:26379,h2/main/0"),
            ("redis://:hush@h1", "redis://:***@h1"),
            ("sqlite://angarium.db", "sqlite://angarium.db"),
            ("hush", "***"),
        ] {
            assert_eq!(DATABASE_URL.show(url), shown);
        }
        assert_eq!(ADMIN_KEY.show("hush"), "***");
    }
}
