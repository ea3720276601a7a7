//! Typed keys: UUIDv7, shown as `<prefix>_<26 letters and digits>`.
//!
//! Shape   the prefix of the kind, `_`, and the 128 bits in Crockford's base32, lower case, most significant first, so
//!         that the text sorts like the bits and the bits sort by the millisecond of their making.
//! Source  UUIDv7: RFC 9562, section 5.7; the alphabet: <https://www.crockford.com/base32.html>.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::{Mutex, PoisonError};

use sea_orm::DeriveValueType;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

use crate::Timestamp;

const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
/// 26 × 5 bits hold the 128 of a UUID; the first letter carries only three of them.
const ENCODED_LEN: usize = 26;

/// A text that is not the ID of the wanted kind.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("not an ID of the form `{prefix}_` and 26 letters or digits")]
pub struct ParseIdError {
    prefix: &'static str,
}

/// Milliseconds whose last UUID is remembered.
const REMEMBERED_MAX: usize = 64;

/// A fresh UUIDv7 made at `now`. Those that a process makes in one millisecond sort in the order of their making, so
/// that what was made first also comes first in lists and where "the oldest decides". That holds also where a clock
/// steps back a little, or a process has several.
pub fn new_uuid(now: Timestamp) -> Uuid {
    /// The last 74 bits of a millisecond, for the latest of them.
    static LAST: Mutex<BTreeMap<u64, u128>> = Mutex::new(BTreeMap::new());
    let millis = u64::try_from(now.millis()).unwrap_or(0);
    let mut last = LAST.lock().unwrap_or_else(PoisonError::into_inner);
    // RFC 9562, section 6.2, method 2: a random start with room above it, and random steps.
    let tail = match last.get(&millis) {
        Some(tail) => tail + 1 + u128::from(rand::random::<u32>()),
        None => rand::random::<u128>() >> 55,
    };
    last.insert(millis, tail);
    if last.len() > REMEMBERED_MAX {
        last.pop_first();
    }
    drop(last);
    let (rand_a, rand_b) = (tail >> 62 & 0xfff, tail & ((1 << 62) - 1));
    Uuid::from_u128(u128::from(millis) << 80 | 0x7 << 76 | rand_a << 64 | 0b10 << 62 | rand_b)
}

/// The smallest UUIDv7 that can have been made at `at`.
pub fn first_uuid_at(at: Timestamp) -> Uuid {
    let millis = u64::try_from(at.millis()).unwrap_or(0);
    Uuid::from_u128(u128::from(millis) << 80)
}

fn encode(prefix: &str, uuid: Uuid, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let bits = uuid.as_u128();
    let mut text = [0_u8; ENCODED_LEN];
    for (place, letter) in text.iter_mut().enumerate() {
        let shift = 5 * (ENCODED_LEN - 1 - place);
        *letter = ALPHABET[usize::try_from((bits >> shift) & 31).unwrap_or(0)];
    }
    write!(f, "{prefix}_{}", std::str::from_utf8(&text).map_err(|_| fmt::Error)?)
}

fn decode(prefix: &'static str, text: &str) -> Result<Uuid, ParseIdError> {
    let refused = ParseIdError { prefix };
    let Some(letters) = text.strip_prefix(prefix).and_then(|rest| rest.strip_prefix('_')) else { return Err(refused) };
    if letters.len() != ENCODED_LEN || letters.as_bytes()[0] > b'7' {
        return Err(refused);
    }
    let mut bits = 0_u128;
    for letter in letters.bytes() {
        let Some(value) = ALPHABET.iter().position(|&known| known == letter) else { return Err(refused) };
        bits = (bits << 5) | value as u128;
    }
    Ok(Uuid::from_u128(bits))
}

macro_rules! id {
    ($(#[doc = $doc:literal] $name:ident $prefix:literal)*) => {$(
        #[doc = $doc]
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, DeriveValueType)]
        pub struct $name(pub Uuid);

        impl $name {
            /// What the text form starts with, before `_`.
            pub const PREFIX: &'static str = $prefix;

            /// A fresh ID made at `now`.
            pub fn new(now: Timestamp) -> Self {
                Self(new_uuid(now))
            }

            /// The bare UUID.
            pub const fn uuid(self) -> Uuid {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                encode(Self::PREFIX, self.0, f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;

            fn from_str(text: &str) -> Result<Self, ParseIdError> {
                decode(Self::PREFIX, text).map(Self)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }

        impl sea_orm::TryFromU64 for $name {
            fn try_from_u64(_: u64) -> Result<Self, sea_orm::DbErr> {
                Err(sea_orm::DbErr::ConvertFromU64(stringify!($name)))
            }
        }
    )*};
}

id! {
    #[doc = "A tenant."] WorkspaceId "ws"
    #[doc = "A credential."] ApiKeyId "key"
    #[doc = "A kind of event in the catalogue."] EventTypeId "ety"
    #[doc = "A rule that sends events to an endpoint."] SubscriptionId "sub"
    #[doc = "An HTTP destination."] EndpointId "ep"
    #[doc = "Something that happened; also the `webhook-id`."] EventId "evt"
    #[doc = "One event on its way to one endpoint."] DeliveryId "dlv"
    #[doc = "One HTTP request of a delivery."] AttemptId "att"
    #[doc = "Past events being sent again."] ReplayId "rpl"
    #[doc = "A running process; new at every start."] NodeId "node"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_form_goes_there_and_back() {
        for bits in [0, 1, u128::MAX, 0x0190_1234_5678_7abc_8def_0123_4567_89ab] {
            let id = EventId(Uuid::from_u128(bits));
            assert_eq!(id.to_string().parse(), Ok(id));
        }
        assert_eq!(EventId(Uuid::from_u128(u128::MAX)).to_string(), "evt_7zzzzzzzzzzzzzzzzzzzzzzzzz");
    }

    #[test]
    fn another_kind_a_wrong_letter_and_an_overflow_are_refused() {
        let id = EventId::new(Timestamp::from_millis(1)).to_string();
        assert!(id.replace("evt", "dlv").parse::<EventId>().is_err());
        for text in [
            "",
            "evt_",
            "evt_8zzzzzzzzzzzzzzzzzzzzzzzzz",
            "evt_7zzzzzzzzzzzzzzzzzzzzzzzzu",
            "evt_ézzzzzzzzzzzzzzzzzzzzzzzz",
        ] {
            assert!(text.parse::<EventId>().is_err(), "{text}");
        }
    }

    #[test]
    fn ids_sort_by_the_millisecond_of_their_making() {
        let earlier = EventId::new(Timestamp::from_millis(1_000));
        let later = EventId::new(Timestamp::from_millis(1_001));
        assert!(earlier < later && earlier.to_string() < later.to_string());
        assert!(first_uuid_at(Timestamp::from_millis(1_001)) <= later.uuid());
        assert!(earlier.uuid() < first_uuid_at(Timestamp::from_millis(1_001)));
    }

    #[test]
    fn ids_of_one_millisecond_sort_in_the_order_of_their_making() {
        // Another clock of the process, somewhere else.
        let other = || new_uuid(Timestamp::from_millis(2_000));
        let ids: Vec<_> = (0..10_000).map(|_| (other(), new_uuid(Timestamp::from_millis(1_000))).1).collect();
        assert!(ids.is_sorted_by(|a, b| a < b));
        assert!(ids.iter().all(|id| id.get_version_num() == 7 && id.get_variant() == uuid::Variant::RFC4122));
        assert!(ids.iter().all(|id| id.as_u128() >> 80 == 1_000));
    }
}
