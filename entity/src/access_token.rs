//! Short-lived credentials for browsers and customers' pages.
//!
//! A token is what it says, sealed: maker, workspace, scopes and end. Nothing is stored, so a page that asks for one at
//! every visit writes no row and leaves none to delete; the price is that a single token cannot be taken back, which its
//! short life bounds. It works only while its maker does: whoever reads a token looks the key up, so that revoking the key
//! ends all of its tokens, on every node, as fast as it ends itself. Another encryption key ends all of them, too.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use crate::api_key::Scopes;
use crate::sealer::Sealer;
use crate::{ApiKeyId, Timestamp, WorkspaceId};

/// What every token starts with.
pub const PREFIX: &str = "at_live_";
const CONTEXT: &[u8] = b"access_token";
/// Longer texts are no tokens.
const LEN_MAX: usize = 2_048;

/// Whose token it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Maker {
    /// This key.
    Key(ApiKeyId),
    /// The operator's own key from the configuration, of which this is the SHA-256.
    Operator([u8; 32]),
}

/// What a token says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessToken {
    /// Whose it is.
    pub maker: Maker,
    /// The workspace that it acts on; none for an administrator's.
    pub workspace_id: Option<WorkspaceId>,
    /// What it may do, while its maker may.
    pub scopes: Scopes,
    /// When it stops working.
    pub expires_at: Timestamp,
}

/// The same as it is sealed.
#[derive(Serialize, Deserialize)]
struct Sealed {
    key: Option<String>,
    operator: Option<[u8; 32]>,
    workspace: Option<String>,
    scopes: Scopes,
    expires_at: i64,
}

impl AccessToken {
    /// The token as its owner sends it.
    pub fn seal(&self, sealer: &Sealer) -> String {
        let (key, operator) = match self.maker {
            Maker::Key(id) => (Some(id.to_string()), None),
            Maker::Operator(hash) => (None, Some(hash)),
        };
        let sealed = Sealed {
            key,
            operator,
            workspace: self.workspace_id.map(|id| id.to_string()),
            scopes: self.scopes.clone(),
            expires_at: self.expires_at.millis(),
        };
        let text = serde_json::to_vec(&sealed).expect("texts and numbers serialize");
        format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(sealer.seal(&text, CONTEXT)))
    }

    /// What `text` says, if it was sealed by us.
    pub fn open(text: &str, sealer: &Sealer) -> Option<Self> {
        let encoded = text.strip_prefix(PREFIX).filter(|encoded| encoded.len() <= LEN_MAX)?;
        let opened = sealer.open(&URL_SAFE_NO_PAD.decode(encoded).ok()?, CONTEXT).ok()?;
        let Sealed { key, operator, workspace, scopes, expires_at } = serde_json::from_slice(&opened).ok()?;
        let maker = match (key, operator) {
            (Some(id), None) => Maker::Key(id.parse().ok()?),
            (None, Some(hash)) => Maker::Operator(hash),
            _ => return None,
        };
        let workspace_id = workspace.map(|id| id.parse()).transpose().ok()?;
        Some(Self { maker, workspace_id, scopes, expires_at: Timestamp::from_millis(expires_at) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api_key::Scope;

    #[test]
    fn a_token_says_what_was_sealed_and_nothing_else_is_one() {
        let (sealer, now) = (Sealer::new(&[7; 32]), Timestamp::from_millis(1_000));
        for maker in [Maker::Key(ApiKeyId::new(now)), Maker::Operator([9; 32])] {
            let workspace_id = Some(WorkspaceId::new(now));
            let token = AccessToken { maker, workspace_id, scopes: Scopes::new([Scope::EventRead]), expires_at: now };
            let text = token.seal(&sealer);
            assert_eq!(AccessToken::open(&text, &sealer), Some(token));
            assert_eq!(AccessToken::open(&text, &Sealer::new(&[8; 32])), None);
            let (start, last) = text.split_at(text.len() - 1);
            assert_eq!(AccessToken::open(&format!("{start}{}", if last == "A" { "B" } else { "A" }), &sealer), None);
        }
        for wrong in ["", PREFIX, "at_live_AAAA", "sk_live_00", &format!("{PREFIX}{}", "A".repeat(5_000))] {
            assert_eq!(AccessToken::open(wrong, &sealer), None, "{wrong}");
        }
        let other = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(sealer.seal(b"{}", CONTEXT)));
        assert_eq!(AccessToken::open(&other, &sealer), None);
    }
}
