//! Rules of the extra request headers that an endpoint may ask for.

/// Most headers of an endpoint.
pub const COUNT_MAX: usize = 32;
/// Most bytes of all names and values together.
pub const BYTES_MAX: usize = 4096;

/// Names that the server or the HTTP client sets, or that would change the connection.
const RESERVED: [&str; 18] = [
    "accept-encoding",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "expect",
    "host",
    "keep-alive",
    "stripe-signature",
    "te",
    "traceparent",
    "tracestate",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "x-hub-signature-256",
    "x-shopify-hmac-sha256",
];
const RESERVED_PREFIXES: [&str; 2] = ["proxy-", "webhook-"];

/// Why a header is refused.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
pub enum HeaderError {
    /// Not a token of RFC 9110.
    #[error("is not a header name: letters, digits and !#$%&'*+-.^_`|~")]
    Name,
    /// Line breaks, control characters, or outside of ASCII.
    #[error("is not a header value: visible ASCII characters, spaces and tabs")]
    Value,
    /// Set by the server.
    #[error("is set by the server and cannot be given")]
    Reserved,
}

/// Checks the name of a header and puts it into lower case.
///
/// # Errors
/// [`HeaderError::Name`] or [`HeaderError::Reserved`].
pub fn parse_name(name: &str) -> Result<String, HeaderError> {
    let name = name.to_ascii_lowercase();
    if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b)) {
        return Err(HeaderError::Name);
    }
    if RESERVED.contains(&name.as_str()) || RESERVED_PREFIXES.iter().any(|prefix| name.starts_with(prefix)) {
        return Err(HeaderError::Reserved);
    }
    Ok(name)
}

/// Checks the value of a header.
///
/// # Errors
/// [`HeaderError::Value`].
pub fn check_value(value: &str) -> Result<(), HeaderError> {
    if !value.bytes().all(|byte| matches!(byte, b'\t' | b' '..=b'~')) {
        return Err(HeaderError::Value);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_lowered_and_reserved_names_and_line_breaks_are_refused() {
        assert_eq!(parse_name("X-Team"), Ok("x-team".to_owned()));
        for reserved in ["Host", "webhook-id", "Proxy-Authorization", "content-length", "Stripe-Signature"] {
            assert_eq!(parse_name(reserved), Err(HeaderError::Reserved), "{reserved}");
        }
        assert_eq!(parse_name("x y"), Err(HeaderError::Name));
        assert_eq!(check_value("a b\t"), Ok(()));
        assert_eq!(check_value("a\r\nb: c"), Err(HeaderError::Value));
    }
}
