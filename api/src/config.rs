//! Configuration: read once at start from variables that begin with `ANGARIUM_`, complete or refused.
//!
//! [`setting`] is the table of all of them, and each has its place in one of the sections below; [`Variables`] knows
//! where they come from, and [`ConfigError`] tells of all that is wrong at once.
//! The names that Kubernetes sets for a Service called `angarium` (`ANGARIUM_SERVICE_*`, `ANGARIUM_PORT*`) are let be.

mod client;
mod database;
mod dispatcher;
mod http;
mod limits;
mod log;
mod reader;
mod secrets;
pub mod setting;
mod traces;
mod variables;

pub use client::Client;
pub use database::Database;
pub use dispatcher::Dispatcher;
pub use http::{Http, Origin, PublicUrl};
pub use limits::Limits;
pub use log::{Log, LogFormat};
pub use reader::{ConfigError, Problem};
pub use secrets::Secrets;
pub use variables::{Origin as SettingOrigin, Variables};

pub use angarium_dispatcher::trace::Config as Traces;
use angarium_entity::sealer::Sealer;
use reader::Reader;
use setting::{Otherwise, Setting};

/// All that `serve` and `dev` are told.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where the API listens, and to which pages.
    pub http: Http,
    /// Where the rows are.
    pub database: Database,
    /// How deliveries are sent.
    pub dispatcher: Dispatcher,
    /// The operator's key, and the key that seals secrets.
    pub secrets: Secrets,
    /// What is logged.
    pub log: Log,
    /// What is traced, and where that is sent.
    pub traces: Traces,
    /// What the API allows.
    pub limits: Limits,
}

impl Config {
    /// Reads everything that a server needs.
    ///
    /// # Errors
    /// All that is missing, malformed or unknown.
    pub fn read(variables: impl IntoIterator<Item = (String, String)>) -> Result<Self, ConfigError> {
        Self::of(Variables::of_environment(variables))
    }

    /// Reads everything that a server needs from what was found.
    ///
    /// # Errors
    /// All that is missing, malformed or unknown.
    pub fn of(variables: Variables) -> Result<Self, ConfigError> {
        let mut reader = Reader::new(variables);
        let parts = Parts::read(&mut reader);
        let (database, secrets) = (parts.database.require(&mut reader), parts.secrets.require(&mut reader));
        reader.finish()?;
        let (Some(database), Some(secrets)) = (database, secrets) else {
            unreachable!("what is missing is a problem that the reader has told of")
        };
        let limits = Limits { allow_http: parts.dispatcher.allow_http, ..parts.limits };
        let Parts { http, dispatcher, log, traces, .. } = parts;
        Ok(Self { http, database, dispatcher, secrets, log, traces, limits })
    }
}

/// What the commands need that work on the database and on its secrets.
#[derive(Clone, Debug)]
pub struct SecretsConfig {
    /// Where the rows are.
    pub database: Database,
    /// Seals signing secrets in the database.
    pub sealer: Sealer,
    /// What is logged.
    pub log: Log,
}

impl SecretsConfig {
    /// Reads what these commands need. What else is set must be right too.
    ///
    /// # Errors
    /// All that is missing, malformed or unknown.
    pub fn of(variables: Variables) -> Result<Self, ConfigError> {
        let mut reader = Reader::new(variables);
        let parts = Parts::read(&mut reader);
        let database = parts.database.require(&mut reader);
        let sealer = parts.secrets.require_sealer(&mut reader);
        reader.finish()?;
        let (Some(database), Some(sealer)) = (database, sealer) else {
            unreachable!("what is missing is a problem that the reader has told of")
        };
        Ok(Self { database, sealer, log: parts.log })
    }
}

/// What the commands need that only work on the database.
#[derive(Clone, Debug)]
pub struct DatabaseConfig {
    /// Where the rows are.
    pub database: Database,
    /// What is logged.
    pub log: Log,
}

impl DatabaseConfig {
    /// Reads what these commands need. What else is set must be right too, or the server would stumble over it later.
    ///
    /// # Errors
    /// All that is missing, malformed or unknown.
    pub fn of(variables: Variables) -> Result<Self, ConfigError> {
        let mut reader = Reader::new(variables);
        let parts = Parts::read(&mut reader);
        let database = parts.database.require(&mut reader);
        reader.finish()?;
        let Some(database) = database else { unreachable!("what is missing is a problem that the reader has told of") };
        Ok(Self { database, log: parts.log })
    }
}

/// One setting as a server would take it.
#[derive(Clone, Debug)]
pub struct Effective {
    /// The setting.
    pub setting: &'static Setting,
    /// Its value as it may be shown; none when it has neither a value nor a default.
    pub value: Option<String>,
    /// Where the value comes from; none when it is the default.
    pub origin: Option<SettingOrigin>,
}

/// Every setting with its present value, and what is wrong. What is missing is not wrong here: it is shown as not set.
pub fn effective(variables: &Variables) -> (Vec<Effective>, Result<(), ConfigError>) {
    let of_one = |setting: &'static Setting| {
        let given = variables.given(setting);
        let default = match setting.otherwise {
            Otherwise::Value(text) => Some(text.to_owned()),
            Otherwise::None(_) | Otherwise::Needed(_) => None,
        };
        let value = given.map(|given| setting.show(&given.text)).or(default);
        Effective { setting, value, origin: given.map(|given| given.origin.clone()) }
    };
    let all = setting::ALL.iter().copied().map(of_one).collect();
    let mut reader = Reader::new(variables.clone());
    Parts::read(&mut reader);
    (all, reader.finish())
}

/// Every section, before what is missing has been asked for.
struct Parts {
    http: Http,
    database: database::Given,
    dispatcher: Dispatcher,
    secrets: secrets::Given,
    log: Log,
    traces: Traces,
    limits: Limits,
    client: client::Given,
}

impl Parts {
    fn read(reader: &mut Reader) -> Self {
        Self {
            http: Http::read(reader),
            database: database::Given::read(reader),
            dispatcher: Dispatcher::read(reader),
            secrets: secrets::Given::read(reader),
            log: Log::read(reader),
            traces: traces::read(reader),
            limits: Limits::read(reader),
            client: client::Given::read(reader),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADMIN_KEY: &str = "sk_live_0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    const ENCRYPTION_KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

    fn read(variables: &[(&str, &str)]) -> Result<Config, String> {
        let complete = [
            (setting::DATABASE_URL.name, "sqlite://x.db"),
            (setting::ADMIN_KEY.name, ADMIN_KEY),
            (setting::ENCRYPTION_KEY.name, ENCRYPTION_KEY),
        ];
        let all = complete.iter().chain(variables).map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Config::read(all).map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_needed_is_enough() {
        let config = read(&[]).expect("complete");
        assert_eq!(config.http.listen.to_string(), "127.0.0.1:8080");
        assert_eq!(config.database.connections, 10);
        assert!(!config.limits.allow_http && config.http.origins.is_none());
    }

    #[test]
    fn everything_missing_is_named_at_once_with_how_to_make_it() {
        let error = Config::read([]).expect_err("nothing is there").to_string();
        for part in ["ANGARIUM_DATABASE_URL", "ANGARIUM_ADMIN_KEY", "ANGARIUM_ENCRYPTION_KEY", "openssl rand"] {
            assert!(error.contains(part), "{error}");
        }
        let mut variables = Variables::default();
        variables.set(&setting::DATABASE_URL, "sqlite://x.db".to_owned(), SettingOrigin::Environment);
        assert!(DatabaseConfig::of(variables).is_ok());
    }

    #[test]
    fn each_malformed_value_is_refused_by_name() {
        for (name, wrong) in [
            ("ANGARIUM_LISTEN", "8080"),
            ("ANGARIUM_METRICS_LISTEN", "localhost"),
            ("ANGARIUM_PUBLIC_URL", "hooks.example.com"),
            ("ANGARIUM_PUBLIC_URL", "https://hooks.example.com/?a=1"),
            ("ANGARIUM_CORS_ORIGINS", "example.com"),
            ("ANGARIUM_CORS_ORIGINS", "https://example.com/path"),
            ("ANGARIUM_DATABASE_URL", "mysql://localhost"),
            ("ANGARIUM_DATABASE_CONNECTIONS", "0"),
            ("ANGARIUM_ARBITERS", "65"),
            ("ANGARIUM_REQUESTS_PER_SECOND", "0"),
            ("ANGARIUM_IN_FLIGHT_MAX", "many"),
            ("ANGARIUM_ALLOW_HTTP", "yes"),
            ("ANGARIUM_API_KEYS_MAX", "0"),
            ("ANGARIUM_ENDPOINTS_MAX", "many"),
            ("ANGARIUM_SUBSCRIPTIONS_MAX", "10000001"),
            ("ANGARIUM_ALLOW_CIDRS", "10.0.0.0"),
            ("ANGARIUM_NAME_SERVERS", "10.0.0.2,ns.example.com"),
            ("ANGARIUM_PROXY_URL", "proxy:3128"),
            ("ANGARIUM_ADMIN_KEY", "sk_live_short"),
            ("ANGARIUM_ENCRYPTION_KEY", "short"),
            ("ANGARIUM_URL", "hooks.example.com"),
            ("ANGARIUM_API_KEY", "sk_live_short"),
            ("ANGARIUM_PREVIOUS_ENCRYPTION_KEYS", "short,shorter"),
            ("ANGARIUM_LOG", "angarium=loud"),
            ("ANGARIUM_LOG_FORMAT", "xml"),
            ("ANGARIUM_OTLP_ENDPOINT", "collector:4318"),
            ("ANGARIUM_OTLP_HEADERS", "authorization"),
            ("ANGARIUM_TRACE_SAMPLE_RATIO", "1.5"),
            ("ANGARIUM_TRACE_SAMPLE_RATIO", "NaN"),
            ("ANGARIUM_SEND_TRACEPARENT", "yes"),
        ] {
            let error = read(&[(name, wrong)]).expect_err(wrong);
            assert!(error.contains(name), "{error}");
        }
    }

    #[test]
    fn a_secret_that_is_refused_is_not_shown() {
        let names = [setting::ADMIN_KEY.name, setting::ENCRYPTION_KEY.name, setting::PREVIOUS_ENCRYPTION_KEYS.name];
        for name in names {
            assert!(!read(&[(name, "hush-hush")]).expect_err("malformed").contains("hush"));
        }
        let error = read(&[("ANGARIUM_PROXY_URL", "socks5://user:hush@proxy")]).expect_err("malformed");
        assert!(!error.contains("hush"), "{error}");
        for name in ["ANGARIUM_OTLP_ENDPOINT", "ANGARIUM_OTLP_HEADERS"] {
            let error = read(&[(name, "ftp://user:hush@collector")]).expect_err("malformed");
            assert!(!error.contains("hush"), "{error}");
        }
        let error = read(&[(setting::DATABASE_URL.name, "mysql://root:hush@localhost")]).expect_err("malformed");
        assert!(!error.contains("hush"), "{error}");
    }

    #[test]
    fn an_unknown_name_is_refused_unless_kubernetes_set_it() {
        assert_eq!(
            read(&[("ANGARIUM_ALOW_HTTP", "true")]).expect_err("unknown"),
            "ANGARIUM_ALOW_HTTP is not a setting; did you mean ANGARIUM_ALLOW_HTTP?"
        );
        assert!(read(&[("ANGARIUM_TURBO", "true")]).expect_err("unknown").contains("is not a setting"));
        assert!(read(&[("ANGARIUM_SERVICE_HOST", "10.0.0.1"), ("ANGARIUM_PORT_80_TCP", "tcp://10.0.0.1")]).is_ok());
        assert!(read(&[("PATH", "/bin"), ("ANGARIUMISH", "1")]).is_ok());
    }

    #[test]
    fn what_is_in_force_is_told_with_where_it_comes_from_and_without_secrets() {
        let pairs = [
            (setting::ADMIN_KEY.name, ADMIN_KEY),
            (setting::DATABASE_URL.name, "postgres://ann:hush@db/x"),
            ("ANGARIUM_ARBITERS", "65"),
        ];
        let pairs = pairs.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let (all, problems) = effective(&Variables::of_environment(pairs));
        let of = |setting: &Setting| all.iter().find(|one| one.setting == setting).expect("all are there");
        assert_eq!(of(&setting::DATABASE_URL).value.as_deref(), Some("postgres://ann:***@db/x"));
        assert_eq!(of(&setting::ADMIN_KEY).origin, Some(SettingOrigin::Environment));
        assert_eq!((&of(&setting::LOG).value, &of(&setting::LOG).origin), (&Some("info".to_owned()), &None));
        assert_eq!(of(&setting::ENCRYPTION_KEY).value, None, "not set");
        assert!(!format!("{all:?}").contains(ADMIN_KEY));
        assert_eq!(problems.map_err(|error| error.0.len()), Err(1), "what is missing is not wrong here");
    }

    #[test]
    fn headers_for_a_collector_that_is_not_named_are_refused() {
        let headers = ("ANGARIUM_OTLP_HEADERS", "x-key=hush");
        assert!(read(&[headers]).expect_err("nowhere to go").starts_with("ANGARIUM_OTLP_ENDPOINT is not set"));
        let config = read(&[headers, ("ANGARIUM_OTLP_ENDPOINT", "http://collector:4318")]).expect("complete");
        assert!(config.traces.collector.is_some() && !format!("{config:?}").contains("hush"));
    }

    #[test]
    fn an_empty_value_is_as_good_as_none() {
        assert!(read(&[("ANGARIUM_ALLOW_HTTP", ""), ("ANGARIUM_LISTEN", "")]).is_ok());
    }
}
