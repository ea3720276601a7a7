//! Where a call carries its key and its workspace.
//!
//! HTTP        `X-API-Key: …`, `Authorization: Bearer …` or `Authorization: AccessKey …`; `Angarium-Workspace: …`
//! WebSocket   `connection_init` with `{"apiKey": …}` or `{"authorization": "Bearer …"}`; `{"workspace": …}`

use std::fmt;

use axum::http::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;

/// The header that carries a bare key.
pub(crate) const API_KEY: HeaderName = HeaderName::from_static("x-api-key");
/// The header that names a workspace.
pub(crate) const WORKSPACE: HeaderName = HeaderName::from_static("angarium-workspace");
/// Most characters of a workspace's name that are worth a look-up.
const WORKSPACE_LEN_MAX: usize = angarium_entity::workspace::EXTERNAL_ID_LEN_MAX;

/// A key and the name of a workspace, as they were sent. Prints neither.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Credentials {
    /// The key.
    pub key: Option<String>,
    /// ID of a workspace, or the operator's own identifier of it.
    pub workspace: Option<String>,
}

/// Something was sent, but not one key.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
pub enum CredentialsError {
    /// Another scheme, such as `Basic`.
    #[error("send the key as `X-API-Key: …`, `Authorization: Bearer …` or `Authorization: AccessKey …`")]
    Scheme,
    /// Bytes that no key holds, or a member of `connection_init` that is not a text.
    #[error("the key or the workspace is not a text")]
    NotText,
    /// Two keys in one call.
    #[error("the call carries two different keys; send one")]
    TwoKeys,
    /// Two workspaces in one call.
    #[error("the call names two different workspaces; name one")]
    TwoWorkspaces,
}

impl Credentials {
    /// What the headers of a request carry.
    ///
    /// # Errors
    /// [`CredentialsError`].
    pub fn from_headers(headers: &HeaderMap) -> Result<Self, CredentialsError> {
        let mut credentials = Self::default();
        for value in headers.get_all(API_KEY) {
            credentials.add_key(text(value)?)?;
        }
        for value in headers.get_all(AUTHORIZATION) {
            credentials.add_authorization(text(value)?)?;
        }
        for value in headers.get_all(WORKSPACE) {
            credentials.add_workspace(text(value)?)?;
        }
        Ok(credentials)
    }

    /// Adds what the payload of a `connection_init` carries; members of other names are the client's own.
    ///
    /// # Errors
    /// [`CredentialsError`].
    pub fn with_connection_init(mut self, payload: &Value) -> Result<Self, CredentialsError> {
        let member = |name: &str| match payload.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.as_str())),
            Some(_) => Err(CredentialsError::NotText),
        };
        if let Some(key) = member("apiKey")? {
            self.add_key(key)?;
        }
        if let Some(authorization) = member("authorization")? {
            self.add_authorization(authorization)?;
        }
        if let Some(workspace) = member("workspace")? {
            self.add_workspace(workspace)?;
        }
        Ok(self)
    }

    fn add_authorization(&mut self, value: &str) -> Result<(), CredentialsError> {
        match value.split_once(' ') {
            Some((scheme, key))
                if scheme.eq_ignore_ascii_case("bearer") || scheme.eq_ignore_ascii_case("accesskey") =>
            {
                self.add_key(key)
            }
            _ => Err(CredentialsError::Scheme),
        }
    }

    fn add_key(&mut self, key: &str) -> Result<(), CredentialsError> {
        add(&mut self.key, key.trim()).map_err(|_| CredentialsError::TwoKeys)
    }

    fn add_workspace(&mut self, workspace: &str) -> Result<(), CredentialsError> {
        if workspace.contains('\0') {
            // PostgreSQL has no such text, and would say so.
            return Err(CredentialsError::NotText);
        }
        // A longer one cannot exist, and what is left of it does not either, since it is at the limit.
        let end = workspace.char_indices().nth(WORKSPACE_LEN_MAX + 1).map_or(workspace.len(), |(end, _)| end);
        add(&mut self.workspace, workspace[..end].trim()).map_err(|_| CredentialsError::TwoWorkspaces)
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(…)")
    }
}

struct Different;

/// Puts `text` into `slot`, unless it is empty: an unset variable in a shell makes an empty header.
fn add(slot: &mut Option<String>, text: &str) -> Result<(), Different> {
    match slot {
        _ if text.is_empty() => Ok(()),
        Some(other) if other != text => Err(Different),
        Some(_) => Ok(()),
        None => {
            *slot = Some(text.to_owned());
            Ok(())
        }
    }
}

fn text(value: &HeaderValue) -> Result<&str, CredentialsError> {
    // External identifiers may hold any letters.
    std::str::from_utf8(value.as_bytes()).map_err(|_| CredentialsError::NotText)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(headers: &[(&str, &str)]) -> Result<(Option<String>, Option<String>), CredentialsError> {
        let parse = |(name, value): &(&str, &str)| Some((name.parse().ok()?, value.parse().ok()?));
        let headers: HeaderMap<HeaderValue> = headers.iter().filter_map(parse).collect::<Vec<_>>().into_iter().fold(
            HeaderMap::new(),
            |mut map, (name, value): (HeaderName, HeaderValue)| {
                map.append(name, value);
                map
            },
        );
        Credentials::from_headers(&headers).map(|credentials| (credentials.key, credentials.workspace))
    }

    #[test]
    fn a_key_comes_in_any_of_three_headers() {
        for header in [
            ("x-api-key", "k"),
            ("authorization", "Bearer k"),
            ("authorization", "bearer  k"),
            ("Authorization", "AccessKey k"),
        ] {
            assert_eq!(read(&[header]), Ok((Some("k".to_owned()), None)), "{header:?}");
        }
        assert_eq!(read(&[("x-api-key", "")]), Ok((None, None)));
        assert_eq!(read(&[("authorization", "Basic a2V5")]), Err(CredentialsError::Scheme));
        assert_eq!(read(&[("authorization", "k")]), Err(CredentialsError::Scheme));
    }

    #[test]
    fn two_credentials_must_be_the_same() {
        let same = [("x-api-key", "k"), ("authorization", "Bearer k"), ("angarium-workspace", "ws")];
        assert_eq!(read(&same), Ok((Some("k".to_owned()), Some("ws".to_owned()))));
        assert_eq!(read(&[("x-api-key", "k"), ("authorization", "Bearer l")]), Err(CredentialsError::TwoKeys));
        assert_eq!(read(&[("x-api-key", "k"), ("x-api-key", "l")]), Err(CredentialsError::TwoKeys));
        let two = [("angarium-workspace", "a"), ("angarium-workspace", "b")];
        assert_eq!(read(&two), Err(CredentialsError::TwoWorkspaces));
    }

    #[test]
    fn connection_init_carries_the_same() {
        let read = |payload: Value| Credentials::default().with_connection_init(&payload);
        let both = read(json!({ "apiKey": "k", "authorization": "Bearer k", "workspace": "ws", "other": 1 }));
        assert_eq!(both.map(|read| (read.key, read.workspace)), Ok((Some("k".to_owned()), Some("ws".to_owned()))));
        assert_eq!(read(json!(null)), Ok(Credentials::default()));
        assert_eq!(read(json!({ "apiKey": null })), Ok(Credentials::default()));
        assert_eq!(read(json!({ "apiKey": 1 })), Err(CredentialsError::NotText));
        assert_eq!(read(json!({ "apiKey": "k", "authorization": "Bearer l" })), Err(CredentialsError::TwoKeys));
    }
}
