//! Reading an answer: to a cap, and without the secrets of the request, which some receivers send back.

use angarium_entity::attempt::{FAILURE_BODY_BYTES_MAX, SUCCESS_BODY_BYTES_MAX};
use angarium_entity::endpoint::{Header, Headers, MASK, RequestHeader};
use reqwest::Response;
use tokio::time::Instant;

/// Bytes of a response that are read; reading on keeps the connection usable, but not at any price.
pub(super) const BODY_READ_MAX: usize = 64 * 1024;
/// Response headers that are kept, and their bytes together.
const HEADERS_KEPT_MAX: (usize, usize) = (32, 4096);
/// Fewest bytes of a secret that is looked for: a shorter one is found everywhere.
const SECRET_LEN_MIN: usize = 4;

/// What came back, as far as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Headers,
    pub(crate) retry_after: Option<String>,
    pub(crate) body: String,
    pub(crate) body_truncated: bool,
}

/// Reads the body as far as it comes by `deadline`, and answers whether it was read to its end. `sent` are the headers of
/// the request, whose secret values are kept out.
pub(super) async fn read(mut response: Response, deadline: Instant, sent: &[RequestHeader]) -> (Answer, bool) {
    let status = response.status();
    let secrets = secrets(sent);
    let retry_after = response.headers().get("retry-after").and_then(|value| value.to_str().ok()).map(str::to_owned);
    let headers = kept_headers(response.headers(), &secrets);
    let keep = if status.is_success() { SUCCESS_BODY_BYTES_MAX } else { FAILURE_BODY_BYTES_MAX };
    // A secret that the cap cuts is seen whole.
    let hold = keep + secrets.iter().map(|secret| secret.len()).max().unwrap_or(0);
    let (mut held, mut read, mut complete) = (Vec::new(), 0, false);
    // What lies beyond the cap stays unread, which closes the connection.
    while read <= BODY_READ_MAX {
        let chunk = match tokio::time::timeout_at(deadline, response.chunk()).await {
            Ok(Ok(Some(chunk))) => chunk,
            Ok(Ok(None)) => {
                complete = true;
                break;
            }
            Ok(Err(_)) | Err(_) => break,
        };
        read += chunk.len();
        held.extend_from_slice(&chunk[..chunk.len().min(hold - held.len())]);
    }
    let body_truncated = !complete || read > keep;
    let body = text(&masked(&held, keep, &secrets));
    (Answer { status: status.as_u16(), headers, retry_after, body, body_truncated }, complete)
}

fn kept_headers(headers: &http::HeaderMap, secrets: &[&[u8]]) -> Headers {
    let (count_max, bytes_max) = HEADERS_KEPT_MAX;
    let mut bytes = 0;
    let kept = headers.iter().take(count_max).map_while(|(name, value)| {
        bytes += name.as_str().len() + value.len();
        let value = text(&masked(value.as_bytes(), value.len(), secrets));
        (bytes <= bytes_max).then(|| Header { name: name.as_str().to_owned(), value })
    });
    Headers(kept.collect())
}

/// What must not be kept of an answer: the secret values that were sent, and of `Bearer abc` also `abc` alone.
fn secrets(sent: &[RequestHeader]) -> Vec<&[u8]> {
    let values = sent.iter().filter(|header| header.secret).map(|header| header.value.trim());
    let parts =
        values.flat_map(|value| [Some(value), value.split_once(' ').map(|(_, credentials)| credentials.trim())]);
    parts.flatten().filter(|part| part.len() >= SECRET_LEN_MIN).map(str::as_bytes).collect()
}

/// The first `keep` of `bytes`, with [`MASK`] in place of each secret that begins in them.
pub(crate) fn masked(bytes: &[u8], keep: usize, secrets: &[&[u8]]) -> Vec<u8> {
    let keep = keep.min(bytes.len());
    if secrets.is_empty() {
        return bytes[..keep].to_vec();
    }
    let (mut kept, mut at) = (Vec::with_capacity(keep), 0);
    while at < keep {
        let longest = secrets.iter().filter(|secret| bytes[at..].starts_with(secret)).map(|secret| secret.len()).max();
        if let Some(len) = longest {
            kept.extend_from_slice(MASK.as_bytes());
            at += len;
        } else {
            kept.push(bytes[at]);
            at += 1;
        }
    }
    kept
}

fn text(bytes: &[u8]) -> String {
    // PostgreSQL refuses NUL in text.
    String::from_utf8_lossy(bytes).replace('\0', "\u{fffd}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_that_comes_back_is_masked_also_where_the_cap_cuts_it() {
        let header = |value: &str, secret| RequestHeader { name: "a".to_owned(), value: value.to_owned(), secret };
        let sent = [header("Bearer hush-4711", true), header("plain-0815", false), header("abc", true)];
        let secrets = secrets(&sent);
        assert_eq!(secrets, [&b"Bearer hush-4711"[..], b"hush-4711"]);
        let masked = |text: &str, keep| String::from_utf8(masked(text.as_bytes(), keep, &secrets)).expect("text");
        assert_eq!(masked("a=Bearer hush-4711, b=hush-4711; plain-0815 abc", 99), "a=***, b=***; plain-0815 abc");
        assert_eq!(masked("hush-471", 99), "hush-471");
        assert_eq!(masked("....hush-4711....", 5), "....***");
        assert_eq!(masked("hush-4711hush-4711", 9), "***");
        assert_eq!(masked("....hush-4711", 4), "....");
    }
}
