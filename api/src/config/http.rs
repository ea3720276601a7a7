//! Where the API listens, and to which pages.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use url::Url;

use super::reader::{ConfigError, Reader, list};
use super::variables::Variables;
use super::{Parts, setting};

/// What stands for an address that was refused.
const NOWHERE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// Settings of the HTTP server.
#[derive(Clone, Debug)]
pub struct Http {
    /// Address of the API: [`setting::LISTEN`].
    pub listen: SocketAddr,
    /// Where metrics are served by themselves: [`setting::METRICS_LISTEN`].
    pub metrics_listen: Option<SocketAddr>,
    /// How long it serves on after it was told to stop: [`setting::DRAIN_DELAY`].
    pub drain_delay: Duration,
    /// Pages that may call and open streams: [`setting::CORS_ORIGINS`].
    pub origins: Option<Vec<Origin>>,
    /// How links that are sent out reach this server: [`setting::PUBLIC_URL`].
    pub public_url: Option<PublicUrl>,
}

impl Http {
    /// Reads what a command needs that calls the server of this machine.
    ///
    /// # Errors
    /// All that is malformed or unknown.
    pub fn of(variables: Variables) -> Result<Self, ConfigError> {
        let mut reader = Reader::new(variables);
        let parts = Parts::read(&mut reader);
        reader.finish()?;
        Ok(parts.http)
    }

    pub(super) fn read(reader: &mut Reader) -> Self {
        let listen = reader.read(&setting::LISTEN, address);
        let metrics_listen = reader.read(&setting::METRICS_LISTEN, address);
        let drain_delay = Duration::from_secs(reader.number(&setting::DRAIN_DELAY).unwrap_or_default());
        let origins = reader.read(&setting::CORS_ORIGINS, |text| list(text, Origin::parse));
        let public_url = reader.read(&setting::PUBLIC_URL, PublicUrl::parse);
        Self { listen: listen.unwrap_or(NOWHERE), metrics_listen, drain_delay, origins, public_url }
    }
}

fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| format!("is `{text}`, but must be an address and a port such as `127.0.0.1:8080`"))
}

/// How a server is reached from elsewhere: an absolute URL without a slash at its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicUrl(String);

impl PublicUrl {
    /// Reads `https://hooks.example.com` or `https://example.com/hooks`.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = || {
            "must be an absolute URL such as `https://hooks.example.com`, without user, query and fragment".to_owned()
        };
        let url = Url::parse(text).map_err(|_| wrong())?;
        let is_bare =
            url.query().is_none() && url.fragment().is_none() && url.username().is_empty() && url.password().is_none();
        if !is_bare || !matches!(url.scheme(), "http" | "https") {
            return Err(wrong());
        }
        Ok(Self(url.as_str().trim_end_matches('/').to_owned()))
    }

    /// For what is served without TLS at `address`; one that listens everywhere is reached on this machine.
    pub fn of(address: SocketAddr) -> Self {
        let ip = match address.ip() {
            ip if !ip.is_unspecified() => ip,
            IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        };
        Self(format!("http://{}", SocketAddr::new(ip, address.port())))
    }
}

impl From<PublicUrl> for Arc<str> {
    fn from(url: PublicUrl) -> Self {
        url.0.into()
    }
}

/// The origin of a page as browsers send it: scheme, host, and the port unless it is the scheme's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin(String);

impl Origin {
    /// Reads `https://app.example.com` or `http://localhost:3000`.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = || format!("holds `{text}`, but an origin is written like `https://app.example.com`");
        let url = Url::parse(text).map_err(|_| wrong())?;
        let is_bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
        if !is_bare || !matches!(url.scheme(), "http" | "https") || !url.username().is_empty() {
            return Err(wrong());
        }
        Ok(Self(url.origin().ascii_serialization()))
    }

    /// The origin of what is served without TLS at `address`.
    pub fn of(address: SocketAddr) -> Self {
        Self::of_host("http", &address.to_string())
    }

    /// The origin of the host and port `host`.
    pub(crate) fn of_host(scheme: &str, host: &str) -> Self {
        let text = format!("{scheme}://{host}");
        // The port is left out where it is the scheme's own, and a name is in lower case.
        let normal = Url::parse(&text).map(|url| url.origin().ascii_serialization());
        Self(normal.unwrap_or(text))
    }

    /// As in an `Origin` header.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_public_url_is_absolute_and_bare() {
        let read = |text: &str| PublicUrl::parse(text).map(Arc::<str>::from);
        assert_eq!(read("https://Hooks.example.com/").as_deref(), Ok("https://hooks.example.com"));
        assert_eq!(read("http://example.com:8080/hooks/").as_deref(), Ok("http://example.com:8080/hooks"));
        for wrong in [
            "",
            "hooks",
            "/hooks",
            "ftp://example.com",
            "https://u:p@example.com",
            "https://example.com/?a",
            "https://example.com/#a",
        ] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
        assert_eq!(PublicUrl::of(([0, 0, 0, 0], 8080).into()).0, "http://127.0.0.1:8080");
    }

    #[test]
    fn an_origin_is_kept_as_browsers_send_it() {
        let normal = |text: &str| Origin::parse(text).map(|origin| origin.to_string());
        assert_eq!(normal("HTTPS://App.Example.com:443/").as_deref(), Ok("https://app.example.com"));
        assert_eq!(normal("http://[::1]:8080").as_deref(), Ok("http://[::1]:8080"));
        for wrong in ["*", "null", "example.com", "ftp://example.com", "http://example.com/app", "http://u@example.com"]
        {
            assert!(normal(wrong).is_err(), "{wrong}");
        }
        assert_eq!(Origin::of(([127, 0, 0, 1], 80).into()).as_str(), "http://127.0.0.1");
    }
}
