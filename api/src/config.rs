//! Configuration: read once at start from variables that begin with `ANGARIUM_`, complete or refused.
//!
//! Every variable has its place in one of the sections below; [`ConfigError`] tells of all that is wrong at once.
//! The names that Kubernetes sets for a Service called `angarium` (`ANGARIUM_SERVICE_*`, `ANGARIUM_PORT*`) are let be.

mod database;
mod dispatcher;
mod http;
mod limits;
mod log;
mod reader;
mod secrets;

pub use database::Database;
pub use dispatcher::Dispatcher;
pub use http::{Http, Origin, PublicUrl};
pub use limits::Limits;
pub use log::{Log, LogFormat};
pub use reader::{ConfigError, Problem};
pub use secrets::Secrets;

use reader::Reader;

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
    /// What the API allows.
    pub limits: Limits,
}

impl Config {
    /// Reads everything that a server needs.
    ///
    /// # Errors
    /// All that is missing, malformed or unknown.
    pub fn read(variables: impl IntoIterator<Item = (String, String)>) -> Result<Self, ConfigError> {
        let mut reader = Reader::new(variables);
        let parts = Parts::read(&mut reader);
        let (database, secrets) = (parts.database.require(&mut reader), parts.secrets.require(&mut reader));
        reader.finish()?;
        let (Some(database), Some(secrets)) = (database, secrets) else {
            unreachable!("what is missing is a problem that the reader has told of")
        };
        let limits = Limits { allow_http: parts.dispatcher.allow_http, ..parts.limits };
        Ok(Self { http: parts.http, database, dispatcher: parts.dispatcher, secrets, log: parts.log, limits })
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
    pub fn read(variables: impl IntoIterator<Item = (String, String)>) -> Result<Self, ConfigError> {
        let mut reader = Reader::new(variables);
        let parts = Parts::read(&mut reader);
        let database = parts.database.require(&mut reader);
        reader.finish()?;
        let Some(database) = database else { unreachable!("what is missing is a problem that the reader has told of") };
        Ok(Self { database, log: parts.log })
    }
}

/// Every section, before what is missing has been asked for.
struct Parts {
    http: Http,
    database: database::Given,
    dispatcher: Dispatcher,
    secrets: secrets::Given,
    log: Log,
    limits: Limits,
}

impl Parts {
    fn read(reader: &mut Reader) -> Self {
        Self {
            http: Http::read(reader),
            database: database::Given::read(reader),
            dispatcher: Dispatcher::read(reader),
            secrets: secrets::Given::read(reader),
            log: Log::read(reader),
            limits: Limits::read(reader),
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
            (database::URL, "sqlite://x.db"),
            (secrets::ADMIN_KEY, ADMIN_KEY),
            (secrets::ENCRYPTION_KEY, ENCRYPTION_KEY),
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
        assert!(DatabaseConfig::read([(database::URL.to_owned(), "sqlite://x.db".to_owned())]).is_ok());
    }

    #[test]
    fn each_malformed_value_is_refused_by_name() {
        for (name, wrong) in [
            ("ANGARIUM_LISTEN", "8080"),
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
            ("ANGARIUM_PROXY_URL", "proxy:3128"),
            ("ANGARIUM_ADMIN_KEY", "sk_live_short"),
            ("ANGARIUM_ENCRYPTION_KEY", "short"),
            ("ANGARIUM_LOG", "angarium=loud"),
            ("ANGARIUM_LOG_FORMAT", "xml"),
        ] {
            let error = read(&[(name, wrong)]).expect_err(wrong);
            assert!(error.contains(name), "{error}");
        }
    }

    #[test]
    fn a_secret_that_is_refused_is_not_shown() {
        for name in [secrets::ADMIN_KEY, secrets::ENCRYPTION_KEY] {
            assert!(!read(&[(name, "hush-hush")]).expect_err("malformed").contains("hush"));
        }
        let error = read(&[("ANGARIUM_PROXY_URL", "socks5://user:hush@proxy")]).expect_err("malformed");
        assert!(!error.contains("hush"), "{error}");
        let error = read(&[(database::URL, "mysql://root:hush@localhost")]).expect_err("malformed");
        assert!(!error.contains("hush"), "{error}");
    }

    #[test]
    fn an_unknown_name_is_refused_unless_kubernetes_set_it() {
        assert_eq!(
            read(&[("ANGARIUM_ALOW_HTTP", "true")]).expect_err("unknown"),
            "ANGARIUM_ALOW_HTTP is not a setting; did you mean ANGARIUM_ALLOW_HTTP?"
        );
        assert!(read(&[("ANGARIUM_METRICS", "true")]).expect_err("unknown").contains("is not a setting"));
        assert!(read(&[("ANGARIUM_SERVICE_HOST", "10.0.0.1"), ("ANGARIUM_PORT_80_TCP", "tcp://10.0.0.1")]).is_ok());
        assert!(read(&[("PATH", "/bin"), ("ANGARIUMISH", "1")]).is_ok());
    }

    #[test]
    fn an_empty_value_is_as_good_as_none() {
        assert!(read(&[("ANGARIUM_ALLOW_HTTP", ""), ("ANGARIUM_LISTEN", "")]).is_ok());
    }
}
