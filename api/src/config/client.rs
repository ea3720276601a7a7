//! Which server the commands call that are its clients.

use std::fmt;

use angarium_entity::api_key::ApiKeySecret;
use url::Url;

use super::reader::{ConfigError, Reader};
use super::setting;
use super::variables::Variables;
use super::{Log, Parts};

/// What `send` and `listen` are told. Prints no key.
#[derive(Clone)]
pub struct Client {
    /// The server, without a path: [`setting::URL`].
    pub url: Url,
    /// The key that they call with: [`setting::API_KEY`].
    pub api_key: ApiKeySecret,
    /// What is logged.
    pub log: Log,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("url", &self.url.as_str()).finish_non_exhaustive()
    }
}

impl Client {
    /// Reads what these commands need.
    ///
    /// # Errors
    /// All that is missing, malformed or unknown.
    pub fn of(variables: Variables) -> Result<Self, ConfigError> {
        let mut reader = Reader::new(variables);
        let parts = Parts::read(&mut reader);
        let remedy = "`angarium dev` prints one, and `angarium key create` makes one";
        let api_key = reader.require(&setting::API_KEY, parts.client.api_key, remedy);
        reader.finish()?;
        let (Some(url), Some(api_key)) = (parts.client.url, api_key) else {
            unreachable!("what is missing is a problem that the reader has told of")
        };
        Ok(Self { url, api_key, log: parts.log })
    }
}

/// What was set.
pub(super) struct Given {
    url: Option<Url>,
    api_key: Option<ApiKeySecret>,
}

impl Given {
    pub(super) fn read(reader: &mut Reader) -> Self {
        let url = reader.read(&setting::URL, |text| {
            let url = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
            url.ok_or_else(|| "must be an absolute URL such as `https://hooks.example.com`".to_owned())
        });
        let api_key = reader.read(&setting::API_KEY, |text| {
            ApiKeySecret::parse(text).ok_or_else(|| "must be `sk_live_` and 64 lower-case hex digits".to_owned())
        });
        Self { url, api_key }
    }
}
