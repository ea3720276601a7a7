//! Pages that may call and open streams.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use axum::http::header::{HOST, HeaderMap, HeaderValue, ORIGIN};

use crate::config::Origin;

/// The list. Programs send no `Origin` and are not asked.
#[derive(Clone, Debug)]
pub(crate) struct Origins {
    configured: Option<Vec<Origin>>,
    own: Vec<Origin>,
}

impl Origins {
    /// The pages `configured`, or else those of the server itself, which listens at `address`.
    pub(crate) fn new(configured: Option<Vec<Origin>>, address: SocketAddr) -> Self {
        let mut own = vec![Origin::of(address)];
        if address.ip().is_loopback() || address.ip().is_unspecified() {
            // The names under which a person on this machine opens it.
            own.push(Origin::of((Ipv4Addr::LOCALHOST, address.port()).into()));
            own.push(Origin::of((Ipv6Addr::LOCALHOST, address.port()).into()));
            own.push(Origin::of_host("http", &format!("localhost:{}", address.port())));
        }
        Self { configured, own }
    }

    /// The `Origin` of a request, if it has one, and whether it may come from there.
    pub(crate) fn check<'a>(&self, headers: &'a HeaderMap) -> Option<(&'a HeaderValue, bool)> {
        let origin = headers.get(ORIGIN)?;
        let allowed = self.configured.as_ref().unwrap_or(&self.own);
        Some((origin, allowed.iter().any(|allowed| allowed.as_str().as_bytes() == origin.as_bytes())))
    }

    /// Whether the request was sent to a name of this server. A page of somebody else's whose name was made to lead
    /// here (DNS rebinding) was not, though its browser believes that it reads its own server.
    pub(crate) fn is_own_host(&self, headers: &HeaderMap) -> bool {
        let Some(Ok(host)) = headers.get(HOST).map(HeaderValue::to_str) else { return false };
        self.own.contains(&Origin::of_host("http", host))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: &'static str, value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(name.parse().expect("a name"), HeaderValue::from_static(value))])
    }

    fn allows(origins: &Origins, origin: &'static str) -> bool {
        origins.check(&headers("origin", origin)).is_some_and(|(_, allowed)| allowed)
    }

    #[test]
    fn its_own_pages_may_call_unless_others_are_named() {
        let address = ([127, 0, 0, 1], 8080).into();
        let own = Origins::new(None, address);
        assert!(allows(&own, "http://127.0.0.1:8080") && allows(&own, "http://localhost:8080"));
        for foreign in ["http://127.0.0.1", "https://127.0.0.1:8080", "http://localhost:8081", "null", ""] {
            assert!(!allows(&own, foreign), "{foreign}");
        }
        let named = Origins::new(Origin::parse("https://app.example.com").ok().map(|origin| vec![origin]), address);
        assert!(allows(&named, "https://app.example.com") && !allows(&named, "http://127.0.0.1:8080"));
        assert!(named.check(&HeaderMap::new()).is_none());
    }

    #[test]
    fn a_foreign_name_that_leads_here_is_not_ours() {
        let own = Origins::new(None, ([127, 0, 0, 1], 8080).into());
        assert!(
            own.is_own_host(&headers("host", "localhost:8080")) && own.is_own_host(&headers("host", "LOCALHOST:8080"))
        );
        assert!(!own.is_own_host(&headers("host", "evil.example:8080")) && !own.is_own_host(&HeaderMap::new()));
    }
}
