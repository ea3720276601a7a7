//! What went wrong below HTTP, in words for the owner of the endpoint: no library speaks here, and no address is named.

use std::error::Error as _;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use angarium_entity::attempt::ErrorCode;
use hyper_util::client::legacy::connect::HttpInfo;
use rustls::CertificateError;

use super::address_guard::ForbiddenAddress;
use super::proxy::ProxyError;
use super::resolver::ResolveError;
use super::sockets::is_lack;
use super::{CONNECT_TIMEOUT, Failure};

const BROKEN_OFF: &str = "the receiver broke off the TLS handshake";

/// A request that failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum SendError {
    #[error(transparent)]
    Direct(#[from] reqwest::Error),
    #[error(transparent)]
    Proxied(#[from] hyper_util::client::legacy::Error),
    #[error(transparent)]
    Request(#[from] http::Error),
}

impl SendError {
    /// Whether there was no connection yet.
    pub(super) fn is_connect(&self) -> bool {
        match self {
            Self::Direct(error) => error.is_connect(),
            Self::Proxied(error) => error.is_connect(),
            Self::Request(_) => false,
        }
    }

    /// Our end of the connection that failed; none where there was none yet.
    pub(super) fn local_end(&self) -> Option<SocketAddr> {
        let failed = match self {
            Self::Direct(_) => find::<hyper_util::client::legacy::Error>(self)?,
            Self::Proxied(error) => error,
            Self::Request(_) => return None,
        };
        let mut said = http::Extensions::new();
        failed.connect_info()?.get_extras(&mut said);
        said.get::<HttpInfo>().map(HttpInfo::local_addr)
    }

    pub(super) fn is_timeout(&self) -> bool {
        let is_io_timeout = || io_kind(self) == Some(io::ErrorKind::TimedOut);
        match self {
            Self::Direct(error) => error.is_timeout(),
            Self::Proxied(error) => error.is_connect() && is_io_timeout(),
            Self::Request(_) => false,
        }
    }
}

/// Tells what a failed request failed of.
pub(super) fn explain(error: &SendError) -> Failure {
    let failure = failure(error);
    if failure.detail.is_some() { failure } else { Failure { detail: Some(chain(error)), ..failure } }
}

/// An error with everything that caused it, in one line.
fn chain(error: &SendError) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

fn failure(error: &SendError) -> Failure {
    let (code, message) = if let Some(failed) = find::<ResolveError>(error) {
        match failed {
            ResolveError::Forbidden(forbidden) => return forbidden_address(forbidden),
            failed => (ErrorCode::Dns, failed.to_string()),
        }
    } else if let Some(failed) = find::<ProxyError>(error) {
        (ErrorCode::Proxy, failed.to_string())
    } else if error.is_timeout() {
        (ErrorCode::Timeout, format!("no connection within {} s", CONNECT_TIMEOUT.as_secs()))
    } else if let Some(failed) = find::<rustls::Error>(error) {
        (ErrorCode::Tls, tls(failed).to_owned())
    } else if error.is_connect() && io_kind(error) == Some(io::ErrorKind::UnexpectedEof) {
        // Before there is a connection, only the greeting of TLS is read.
        (ErrorCode::Tls, BROKEN_OFF.to_owned())
    } else if find::<hyper::Error>(error).is_some_and(hyper::Error::is_parse_too_large) {
        (ErrorCode::Protocol, "the head of the answer is too long, or has too many headers".to_owned())
    } else if find::<hyper::Error>(error).is_some_and(hyper::Error::is_parse) {
        (ErrorCode::Protocol, "the answer is not valid HTTP".to_owned())
    } else {
        (ErrorCode::Connection, connection(error).to_owned())
    };
    Failure { code, message, detail: None, is_ours: find_where(error, is_lack).is_some() }
}

fn tls(error: &rustls::Error) -> &'static str {
    match error {
        rustls::Error::InvalidCertificate(certificate) => match certificate {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => "the certificate has expired",
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                "the certificate is not valid yet"
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                "the certificate is for another host name"
            }
            CertificateError::Revoked => "the certificate was revoked",
            CertificateError::BadSignature => "the signature of the certificate is wrong",
            CertificateError::UnknownIssuer => "the certificate is not from an authority that this server trusts",
            _ => "the certificate is not valid",
        },
        rustls::Error::InvalidMessage(_) => "the receiver does not speak TLS at this port",
        rustls::Error::AlertReceived(_) => BROKEN_OFF,
        rustls::Error::PeerIncompatible(_) => "the receiver speaks no version or cipher of TLS that this server does",
        _ => "the TLS handshake failed",
    }
}

fn connection(error: &SendError) -> &'static str {
    let closed = "the connection was closed before an answer came";
    if find::<hyper::Error>(error).is_some_and(hyper::Error::is_incomplete_message) {
        return closed;
    }
    match io_kind(error) {
        Some(io::ErrorKind::ConnectionRefused) => "the connection was refused",
        Some(io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe | io::ErrorKind::UnexpectedEof) => closed,
        Some(io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable) => "the host cannot be reached",
        Some(io::ErrorKind::TimedOut) => "the connection broke: the host has stopped answering",
        _ => "the connection failed",
    }
}

pub(super) fn forbidden_address(forbidden: &ForbiddenAddress) -> Failure {
    // Which address it was would tell a tenant what names mean inside of the network.
    let detail = Some(forbidden.0.to_string());
    let message = "the URL leads to an address that is not public, and this server does not allow it".to_owned();
    Failure { code: ErrorCode::ForbiddenAddress, message, detail, is_ours: false }
}

pub(super) fn timed_out(timeout: Duration) -> Failure {
    let message = format!("no complete response within {} ms", timeout.as_millis());
    Failure { code: ErrorCode::Timeout, message, detail: None, is_ours: false }
}

/// The first cause of type `E`. An `io::Error` hides what it wraps from `source`, so it is opened too.
pub(super) fn find<E: std::error::Error + 'static>(error: &SendError) -> Option<&E> {
    find_where(error, |_| true)
}

/// The first of them that is so.
fn find_where<E: std::error::Error + 'static>(error: &SendError, is_so: impl Fn(&E) -> bool) -> Option<&E> {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = error.source();
    while let Some(error) = cause {
        if let Some(found) = error.downcast_ref::<E>().filter(|found| is_so(found)) {
            return Some(found);
        }
        cause = match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(inner) => Some(inner),
            None => error.source(),
        };
    }
    None
}

/// What the system says, or who read on its behalf. Those around it are of no kind.
fn io_kind(error: &SendError) -> Option<io::ErrorKind> {
    find_where::<io::Error>(error, |error| error.kind() != io::ErrorKind::Other).map(io::Error::kind)
}
