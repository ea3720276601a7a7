//! Extra request headers: as they are stored, with secret values sealed, and as they are sent.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sea_orm::FromJsonQueryResult;
use serde::{Deserialize, Serialize};

use crate::EndpointId;
use crate::sealer::{SealError, Sealer};

/// In place of a value that is not shown.
pub const MASK: &str = "***";

/// A header as it is sent, or with [`MASK`] as it is shown. Prints no secret value.
#[derive(Clone, PartialEq, Eq)]
pub struct RequestHeader {
    /// In lower case.
    pub name: String,
    /// Sent as it is.
    pub value: String,
    /// Never shown, and sealed at rest.
    pub secret: bool,
}

impl fmt::Debug for RequestHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name, if self.secret { MASK } else { &self.value })
    }
}

/// A header as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum StoredHeader {
    /// Anybody who may see the endpoint may see it.
    Plain {
        /// In lower case.
        name: String,
        /// Sent as it is.
        value: String,
    },
    /// A secret value.
    Sealed {
        /// In lower case.
        name: String,
        /// In base64; see [`crate::sealer`]. The context is the endpoint's ID and the name.
        sealed: String,
    },
}

impl StoredHeader {
    fn seal(header: &RequestHeader, endpoint: EndpointId, sealer: &Sealer) -> Self {
        let name = header.name.clone();
        if !header.secret {
            return Self::Plain { name, value: header.value.clone() };
        }
        let sealed = STANDARD.encode(sealer.seal(header.value.as_bytes(), &context(endpoint, &name)));
        Self::Sealed { name, sealed }
    }

    fn open(&self, endpoint: EndpointId, sealer: &Sealer) -> Result<RequestHeader, SealError> {
        match self {
            Self::Plain { name, value } => {
                Ok(RequestHeader { name: name.clone(), value: value.clone(), secret: false })
            }
            Self::Sealed { name, sealed } => {
                let bytes = STANDARD.decode(sealed).map_err(|_| SealError::Damaged)?;
                let value = sealer.open(&bytes, &context(endpoint, name))?;
                let value = String::from_utf8(value).map_err(|_| SealError::Damaged)?;
                Ok(RequestHeader { name: name.clone(), value, secret: true })
            }
        }
    }

    /// Whether nothing of it is under a previous key.
    fn is_current(&self, sealer: &Sealer) -> bool {
        match self {
            Self::Plain { .. } => true,
            Self::Sealed { sealed, .. } => STANDARD.decode(sealed).is_ok_and(|bytes| sealer.is_current(&bytes)),
        }
    }

    fn masked(&self) -> RequestHeader {
        match self {
            Self::Plain { name, value } => RequestHeader { name: name.clone(), value: value.clone(), secret: false },
            Self::Sealed { name, .. } => RequestHeader { name: name.clone(), value: MASK.to_owned(), secret: true },
        }
    }
}

/// So that a sealed value opens neither at another endpoint nor under another name, nor as a signing secret.
fn context(endpoint: EndpointId, name: &str) -> Vec<u8> {
    [endpoint.0.as_bytes(), &b"/header/"[..], name.as_bytes()].concat()
}

/// The extra request headers of an endpoint, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, FromJsonQueryResult)]
#[serde(transparent)]
pub struct RequestHeaders(pub Vec<StoredHeader>);

impl RequestHeaders {
    /// Seals the secret ones. What is the same in `present` is taken from there, since sealing never makes the same twice.
    pub fn seal(headers: &[RequestHeader], present: &Self, endpoint: EndpointId, sealer: &Sealer) -> Self {
        let known = |header: &RequestHeader| {
            let is_same = |stored: &&StoredHeader| stored.open(endpoint, sealer).as_ref() == Ok(header);
            present.0.iter().find(is_same).filter(|stored| stored.is_current(sealer)).cloned()
        };
        let seal = |header| known(header).unwrap_or_else(|| StoredHeader::seal(header, endpoint, sealer));
        Self(headers.iter().map(seal).collect())
    }

    /// The same with every secret value under the sealer's current key; none if they are already.
    ///
    /// # Errors
    /// Those of [`Sealer::reseal`].
    pub fn reseal(&self, endpoint: EndpointId, sealer: &Sealer) -> Result<Option<Self>, SealError> {
        if self.0.iter().all(|stored| stored.is_current(sealer)) {
            return Ok(None);
        }
        let anew = |header| StoredHeader::seal(&header, endpoint, sealer);
        let opened = self.open(endpoint, sealer)?.into_iter();
        let headers =
            opened.zip(&self.0).map(|(h, stored)| if stored.is_current(sealer) { stored.clone() } else { anew(h) });
        Ok(Some(Self(headers.collect())))
    }

    /// What is sent.
    ///
    /// # Errors
    /// [`SealError`] when the configured key is another one or the row was damaged.
    pub fn open(&self, endpoint: EndpointId, sealer: &Sealer) -> Result<Vec<RequestHeader>, SealError> {
        self.0.iter().map(|stored| stored.open(endpoint, sealer)).collect()
    }

    /// What is shown: secret values are masked.
    pub fn masked(&self) -> Vec<RequestHeader> {
        self.0.iter().map(StoredHeader::masked).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Timestamp;

    fn header(name: &str, value: &str, secret: bool) -> RequestHeader {
        RequestHeader { name: name.to_owned(), value: value.to_owned(), secret }
    }

    #[test]
    fn a_secret_value_is_stored_sealed_shown_masked_and_sent_as_it_was_given() {
        let (sealer, endpoint) = (Sealer::new(&[1; 32]), EndpointId::new(Timestamp::from_millis(1)));
        let given = [header("x-team", "a", false), header("authorization", "Bearer hush", true)];
        let stored = RequestHeaders::seal(&given, &RequestHeaders::default(), endpoint, &sealer);
        let text = serde_json::to_string(&stored).expect("JSON");
        assert!(text.contains(r#"{"name":"x-team","value":"a"}"#) && !text.contains("hush"), "{text}");
        let read: RequestHeaders = serde_json::from_str(&text).expect("the same");
        assert_eq!(read.open(endpoint, &sealer), Ok(given.to_vec()));
        assert_eq!(read.masked(), [header("x-team", "a", false), header("authorization", MASK, true)]);
        assert!(!format!("{given:?} {stored:?}").contains("hush"));
        assert_eq!(RequestHeaders::seal(&given, &stored, endpoint, &sealer), stored, "nothing is sealed anew");
    }

    #[test]
    fn values_are_sealed_anew_under_a_new_key() {
        let (old, endpoint) = (Sealer::new(&[1; 32]), EndpointId::new(Timestamp::from_millis(1)));
        let new = Sealer::new(&[2; 32]);
        let both = new.clone().with_previous([old.clone()]);
        let given = [header("x-team", "a", false), header("authorization", "Bearer hush", true)];
        let stored = RequestHeaders::seal(&given, &RequestHeaders::default(), endpoint, &old);
        let resealed = stored.reseal(endpoint, &both).expect("it opens").expect("it is under the old key");
        assert_eq!(resealed.open(endpoint, &new), Ok(given.to_vec()));
        assert_eq!(resealed.reseal(endpoint, &both), Ok(None));
        assert_eq!(stored.reseal(endpoint, &new), Err(SealError::OtherKey));
        let kept = RequestHeaders::seal(&given, &stored, endpoint, &both);
        assert_eq!(kept.open(endpoint, &new), Ok(given.to_vec()), "what is saved again goes under the new key");
    }

    #[test]
    fn a_sealed_value_opens_only_at_its_endpoint_and_under_its_name() {
        let (sealer, now) = (Sealer::new(&[1; 32]), Timestamp::from_millis(1));
        let endpoint = EndpointId::new(now);
        let given = [header("a", "hush", true)];
        let stored = RequestHeaders::seal(&given, &RequestHeaders::default(), endpoint, &sealer);
        assert_eq!(stored.open(EndpointId::new(now), &sealer), Err(SealError::Damaged));
        let StoredHeader::Sealed { sealed, .. } = &stored.0[0] else { panic!("it is sealed") };
        let renamed = RequestHeaders(vec![StoredHeader::Sealed { name: "b".to_owned(), sealed: sealed.clone() }]);
        assert_eq!(renamed.open(endpoint, &sealer), Err(SealError::Damaged));
        assert_eq!(stored.open(endpoint, &Sealer::new(&[2; 32])), Err(SealError::OtherKey));
    }
}
