//! Rules of endpoint URLs that can be told from the text alone.
//!
//! Where the name leads is checked when the connection is made, by the dispatcher; what stands here is a courtesy to
//! the person who types the URL.

use url::{Host, Url};

/// Most characters of a URL.
pub const LEN_MAX: usize = 2083;

/// Why a URL is refused.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum UrlError {
    /// Nothing given.
    #[error("is empty; give an absolute URL such as `https://example.com/webhooks`")]
    Blank,
    /// More than 2083 characters.
    #[error("is longer than {LEN_MAX} characters")]
    TooLong,
    /// Not an absolute URL.
    #[error("is not an absolute URL such as `https://example.com/webhooks`: {0}")]
    Malformed(String),
    /// Another scheme than http or https.
    #[error("has the scheme `{0}`; use https")]
    Scheme(String),
    /// `http` where it is not allowed.
    #[error("must start with `https://`; this server does not allow `http://`")]
    NotHttps,
    /// `https://user:password@host`.
    #[error("must not hold a user name or password; send them in a header")]
    Userinfo,
    /// `…#part`: never sent.
    #[error("must not hold a fragment (`#…`); it would never be sent")]
    Fragment,
}

/// Reads an endpoint URL. `allow_http` is the server's setting.
///
/// # Errors
/// [`UrlError`].
pub fn parse(text: &str, allow_http: bool) -> Result<Url, UrlError> {
    if text.is_empty() {
        return Err(UrlError::Blank);
    }
    if text.chars().count() > LEN_MAX {
        return Err(UrlError::TooLong);
    }
    if text.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err(UrlError::Malformed("it holds a space or a control character".to_owned()));
    }
    let url = Url::parse(text).map_err(|error| UrlError::Malformed(error.to_string()))?;
    match url.scheme() {
        "https" => {}
        "http" if allow_http => {}
        "http" => return Err(UrlError::NotHttps),
        other => return Err(UrlError::Scheme(other.to_owned())),
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(UrlError::Userinfo);
    }
    if url.fragment().is_some() {
        return Err(UrlError::Fragment);
    }
    match url.host() {
        Some(Host::Domain(name)) if name.trim_matches('.').is_empty() => {
            Err(UrlError::Malformed("it has no host".to_owned()))
        }
        Some(_) => Ok(url),
        None => Err(UrlError::Malformed("it has no host".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_absolute_https_url_is_taken_and_http_only_where_allowed() {
        assert!(parse("https://example.com/in?x=1", false).is_ok());
        assert_eq!(parse("http://example.com", false), Err(UrlError::NotHttps));
        assert!(parse("http://127.0.0.1:8080/in", true).is_ok());
    }

    #[test]
    fn each_wrong_url_is_refused_for_its_own_reason() {
        assert_eq!(parse("", false), Err(UrlError::Blank));
        assert_eq!(parse(&format!("https://e.com/{}", "x".repeat(2083)), false), Err(UrlError::TooLong));
        assert_eq!(parse("https://user@example.com", false), Err(UrlError::Userinfo));
        assert_eq!(parse("https://example.com/#top", false), Err(UrlError::Fragment));
        assert_eq!(parse("ftp://example.com", false), Err(UrlError::Scheme("ftp".to_owned())));
        for malformed in ["example.com", "https://", "https:// x", "not a url", "https://exa mple.com", "https://..."] {
            assert!(matches!(parse(malformed, false), Err(UrlError::Malformed(_))), "{malformed}");
        }
    }
}
