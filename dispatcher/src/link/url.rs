//! Which Redis: by URL.
//!
//! ```text
//! redis://[user:password@]host[:6379][/db]                                a single server; rediss:// with TLS
//! redis+sentinel://[user:password@]host[:26379][,host…]/master[/db]       found by Sentinel; rediss+sentinel://
//! redis+cluster://[user:password@]host[:6379][,host…]                     a Cluster; rediss+cluster://
//! ```
//! With Sentinel, user and password are those of the server; those of the sentinels themselves are the parameters
//! `sentinelUser` and `sentinelPassword`. Certificates are checked against those of the system; `SSL_CERT_FILE` names
//! others.

use std::fmt;

use url::Url;

const REDIS_PORT: u16 = 6379;
const SENTINEL_PORT: u16 = 26379;

/// Where Redis is, with its passwords.
#[derive(Clone, PartialEq, Eq)]
pub struct RedisUrl {
    pub(super) kind: Kind,
    /// Servers or sentinels, with their ports.
    pub(super) hosts: Vec<(String, u16)>,
    pub(super) tls: bool,
    /// How the servers let us in.
    pub(super) server: Login,
    pub(super) database: i64,
}

/// What is behind the hosts.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Kind {
    Single,
    /// The master of this name, and how the sentinels let us in.
    Sentinel {
        master: String,
        login: Login,
    },
    Cluster,
}

/// User and password, as far as there are any.
#[derive(Clone, Default, PartialEq, Eq)]
pub(super) struct Login {
    pub(super) user: Option<String>,
    pub(super) password: Option<String>,
}

/// Why a text is not such a URL.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RedisUrlError {
    /// Another scheme.
    #[error(
        "is not a URL of Redis, which is written like `redis://host:6379/0`, \
         `redis+sentinel://host:26379,host:26379/master` or `redis+cluster://host:6379,host:6379`"
    )]
    Scheme,
    /// A host, port or number does not read.
    #[error("holds `{0}`, where a host and perhaps a port is expected, such as `redis.internal:6379`")]
    Host(String),
    /// Sentinel without the name of the master.
    #[error("does not name the master behind the sentinels: `redis+sentinel://host:26379/master`")]
    Master,
    /// A path that means nothing.
    #[error("ends with `{0}`, where the number of a database is expected; a Cluster has none")]
    Database(String),
    /// A parameter that means nothing.
    #[error("has the parameter `{0}`, which is not known")]
    Parameter(String),
}

impl fmt::Debug for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RedisUrl(")?;
        fmt::Display::fmt(self, f)?;
        f.write_str(")")
    }
}

/// Without user and password.
impl fmt::Display for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, hosts, tls, database, .. } = self;
        let scheme = if *tls { "rediss" } else { "redis" };
        let hosts = hosts.iter().map(|(host, port)| format!("{host}:{port}")).collect::<Vec<_>>().join(",");
        match kind {
            Kind::Single => write!(f, "{scheme}://{hosts}/{database}"),
            Kind::Sentinel { master, .. } => write!(f, "{scheme}+sentinel://{hosts}/{master}/{database}"),
            Kind::Cluster => write!(f, "{scheme}+cluster://{hosts}"),
        }
    }
}

impl RedisUrl {
    /// Reads one.
    ///
    /// # Errors
    /// [`RedisUrlError`].
    pub fn parse(text: &str) -> Result<Self, RedisUrlError> {
        let (scheme, rest) = text.split_once("://").ok_or(RedisUrlError::Scheme)?;
        let (security, form) = scheme.split_once('+').unwrap_or((scheme, ""));
        let tls = match security {
            "redis" => false,
            "rediss" => true,
            _ => return Err(RedisUrlError::Scheme),
        };
        let Parts { server, hosts, path, mut parameters } = Parts::read(rest)?;
        let (kind, port, database_at) = match form {
            "" if hosts.len() > 1 => return Err(RedisUrlError::Host(hosts.join(","))),
            "" => (Kind::Single, REDIS_PORT, Some(0)),
            "sentinel" => {
                let master = path.first().ok_or(RedisUrlError::Master)?.clone();
                let login = Login {
                    user: take(&mut parameters, "sentinelUser"),
                    password: take(&mut parameters, "sentinelPassword"),
                };
                (Kind::Sentinel { master, login }, SENTINEL_PORT, Some(1))
            }
            "cluster" => (Kind::Cluster, REDIS_PORT, None),
            _ => return Err(RedisUrlError::Scheme),
        };
        if let Some((unknown, _)) = parameters.into_iter().next() {
            return Err(RedisUrlError::Parameter(unknown));
        }
        if let Some(more) = path.get(database_at.map_or(0, |at| at + 1)) {
            return Err(RedisUrlError::Database(more.clone()));
        }
        let database = database_at.and_then(|at| path.get(at)).map_or(Ok(0), |part| database(part))?;
        let hosts = hosts.iter().map(|host| address(host, port)).collect::<Result<_, _>>()?;
        Ok(Self { kind, hosts, tls, server, database })
    }
}

struct Parts {
    server: Login,
    hosts: Vec<String>,
    path: Vec<String>,
    parameters: Vec<(String, String)>,
}

impl Parts {
    fn read(rest: &str) -> Result<Self, RedisUrlError> {
        // The list of hosts is nothing that URLs know: with another in its place, the rest reads like one.
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, tail) = rest.split_at(end);
        let (login, hosts) = authority.rsplit_once('@').map_or(("", authority), |(login, hosts)| (login, hosts));
        let at = if login.is_empty() { "" } else { "@" };
        let url = Url::parse(&format!("redis://{login}{at}host{tail}")).map_err(|_| RedisUrlError::Scheme)?;
        let user = Some(url.username()).filter(|user| !user.is_empty()).map(percent_decode);
        let server = Login { user, password: url.password().map(percent_decode) };
        let hosts = hosts.split(',').map(str::to_owned).collect();
        let path = url.path().split('/').filter(|part| !part.is_empty()).map(percent_decode).collect();
        let parameters = url.query_pairs().map(|(name, value)| (name.into_owned(), value.into_owned())).collect();
        Ok(Self { server, hosts, path, parameters })
    }
}

fn take(parameters: &mut Vec<(String, String)>, name: &str) -> Option<String> {
    let place = parameters.iter().position(|(known, _)| known == name)?;
    Some(parameters.remove(place).1)
}

fn percent_decode(text: &str) -> String {
    // What form-urlencoding adds to percent-encoding is the plus sign.
    let pair = format!("a={}", text.replace('+', "%2B"));
    url::form_urlencoded::parse(pair.as_bytes()).next().map(|(_, value)| value.into_owned()).unwrap_or_default()
}

fn address(host: &str, port: u16) -> Result<(String, u16), RedisUrlError> {
    let wrong = || RedisUrlError::Host(host.to_owned());
    let url = Url::parse(&format!("redis://{host}")).map_err(|_| wrong())?;
    let name = url.host_str().filter(|name| !name.is_empty()).ok_or_else(wrong)?;
    // An address of version 6 goes without its brackets.
    let name = name.trim_start_matches('[').trim_end_matches(']');
    Ok((name.to_owned(), url.port().unwrap_or(port)))
}

fn database(part: &str) -> Result<i64, RedisUrlError> {
    part.parse().ok().filter(|number| *number >= 0).ok_or_else(|| RedisUrlError::Database(part.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_is_read_and_shown_without_its_password() {
        for (text, shown) in [
            ("redis://localhost", "redis://localhost:6379/0"),
            ("redis://:s3cret@10.0.0.1:7000/2", "redis://10.0.0.1:7000/2"),
            ("rediss://app:s3cret@cache.internal", "rediss://cache.internal:6379/0"),
            ("redis://[::1]:6380/1", "redis://::1:6380/1"),
            (
                "redis+sentinel://:s3cret@a,b:26380/main?sentinelPassword=s3cret",
                "redis+sentinel://a:26379,b:26380/main/0",
            ),
            ("redis+cluster://app:s3cret@a,b:7001", "redis+cluster://a:6379,b:7001"),
            ("rediss+cluster://a:7000", "rediss+cluster://a:7000"),
        ] {
            let url = RedisUrl::parse(text).expect(text);
            assert_eq!(url.to_string(), shown);
            assert!(!format!("{url:?}").contains("s3cret"));
        }
    }

    #[test]
    fn user_and_password_are_decoded() {
        let Login { user, password } = RedisUrl::parse("redis://a%40b:p%2F+%3A@h").expect("it reads").server;
        assert_eq!((user.as_deref(), password.as_deref()), (Some("a@b"), Some("p/+:")));
    }

    #[test]
    fn what_does_not_read_is_refused_with_what_would() {
        for (text, error) in [
            ("localhost:6379", RedisUrlError::Scheme),
            ("http://localhost", RedisUrlError::Scheme),
            ("redis://a,b", RedisUrlError::Host("a,b".to_owned())),
            ("redis://a:port", RedisUrlError::Host("a:port".to_owned())),
            ("redis://", RedisUrlError::Host(String::new())),
            ("redis://a/x", RedisUrlError::Database("x".to_owned())),
            ("redis+cluster://a/1", RedisUrlError::Database("1".to_owned())),
            ("redis+sentinel://a", RedisUrlError::Master),
            ("redis://a?tls=1", RedisUrlError::Parameter("tls".to_owned())),
        ] {
            assert_eq!(RedisUrl::parse(text).err(), Some(error), "{text}");
        }
    }
}
