//! The outbound proxy: every connection to an endpoint is a tunnel through it (`CONNECT`, RFC 9110 section 9.3.6), so
//! that TLS is between us and the endpoint, and the proxy passes on bytes.
//!
//! Names are resolved here and checked by the guard, and the proxy is asked for the address: it never gets a name that
//! could mean something else to it.

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::Uri;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::{Connected, Connection, HttpInfo};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tower::Service;
use url::Url;

use super::CONNECT_TIMEOUT;
use super::plan::Plan;
use super::resolver::GuardedResolver;

/// Most bytes of the head of the proxy's answer.
const HEAD_BYTES_MAX: usize = 8 * 1024;

/// An address of nobody (RFC 5737), to try a proxy with.
pub const NOWHERE: SocketAddr = SocketAddr::new(IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1)), 443);
/// Longest wait for what it says to that.
const ANSWER_WITHIN: Duration = Duration::from_secs(3);

/// Where the proxy is, and what it wants to hear. Prints no password.
#[derive(Clone, PartialEq, Eq)]
pub struct Proxy {
    host: String,
    port: u16,
    /// The value of `proxy-authorization`.
    authorization: Option<String>,
}

/// The URL is not that of a proxy.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
#[error("must be like `http://proxy.internal:3128`, or `http://user:password@proxy.internal:3128`")]
pub struct ProxyUrlError;

impl Proxy {
    /// Reads `http://[user:password@]host[:port]`.
    ///
    /// # Errors
    /// [`ProxyUrlError`]; it does not tell what was given, which may hold a password.
    pub fn parse(text: &str) -> Result<Self, ProxyUrlError> {
        let url = Url::parse(text).map_err(|_| ProxyUrlError)?;
        let is_bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
        let (Some(host), Some(port)) = (url.host_str(), url.port_or_known_default()) else { return Err(ProxyUrlError) };
        if url.scheme() != "http" || !is_bare {
            return Err(ProxyUrlError);
        }
        let is_named = !url.username().is_empty() || url.password().is_some();
        let name = || format!("{}:{}", unescaped(url.username()), unescaped(url.password().unwrap_or_default()));
        let authorization = is_named.then(|| format!("Basic {}", STANDARD.encode(name())));
        Ok(Self { host: host.trim_matches(['[', ']']).to_owned(), port, authorization })
    }

    /// Asks it for a tunnel to [`NOWHERE`], where nobody is, and answers the status that it gives; none when it gives none
    /// in time, as one that has let us in and tries. Whether it would connect to an endpoint, only a delivery tells.
    ///
    /// # Errors
    /// When it cannot be reached, does not speak HTTP, or does not know us.
    pub async fn try_out(&self) -> Result<Option<u16>, ProxyError> {
        let mut stream = TcpStream::connect((&*self.host, self.port)).await.map_err(ProxyError::Unreachable)?;
        match tokio::time::timeout(ANSWER_WITHIN, self.ask(&mut stream, NOWHERE)).await {
            Ok(Ok(407)) => Err(ProxyError::Refused(407)),
            Ok(answered) => answered.map(Some),
            Err(_) => Ok(None),
        }
    }

    /// Asks for a tunnel, and answers the status.
    async fn ask(&self, stream: &mut TcpStream, target: SocketAddr) -> Result<u16, ProxyError> {
        let authorization = self.authorization.iter().map(|value| format!("proxy-authorization: {value}\r\n"));
        let authorization: String = authorization.collect();
        let asked = format!("CONNECT {target} HTTP/1.1\r\nhost: {target}\r\n{authorization}\r\n");
        stream.write_all(asked.as_bytes()).await.map_err(ProxyError::Unreachable)?;
        status(&read_head(stream).await?).ok_or(ProxyError::Garbled)
    }
}

impl std::fmt::Debug for Proxy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Proxy").field("host", &self.host).field("port", &self.port).finish_non_exhaustive()
    }
}

/// `%40` is `@`; what is no escape stays as it is.
pub(crate) fn unescaped(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        let escape = tail.get(..2).filter(|_| *first == b'%').and_then(|digits| std::str::from_utf8(digits).ok());
        if let Some(byte) = escape.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            bytes.push(byte);
            rest = &tail[2..];
        } else {
            bytes.push(*first);
            rest = tail;
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// What the proxy did not do, in words for the owner of an endpoint.
#[derive(Debug, thiserror::Error)]
pub enum ProxyError {
    /// It is not there, or left.
    #[error("the outbound proxy of this server cannot be reached")]
    Unreachable(#[source] io::Error),
    /// It tries for too long.
    #[error("the outbound proxy of this server did not connect in time")]
    Slow,
    /// It does not know us, or does not want to.
    #[error("the outbound proxy of this server refused to connect, with status {0}")]
    Refused(u16),
    /// It is something else.
    #[error("the outbound proxy of this server did not answer with HTTP")]
    Garbled,
}

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Makes connections through the proxy.
#[derive(Clone)]
pub(super) struct Tunnels {
    proxy: Arc<Proxy>,
    resolver: GuardedResolver,
    tls: TlsConnector,
}

impl Tunnels {
    pub(super) fn new(proxy: Arc<Proxy>, plan: &Plan) -> Self {
        Self { proxy, resolver: plan.resolver.clone(), tls: plan.tls.clone().into() }
    }

    async fn open(self, uri: Uri) -> Result<Tunnel, BoxError> {
        let is_tls = uri.scheme_str() == Some("https");
        let host = uri.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        let port = uri.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
        let addresses = match host.parse::<IpAddr>() {
            Ok(address) => {
                self.resolver.guard().check(address).map_err(super::resolver::ResolveError::Forbidden)?;
                vec![address]
            }
            Err(_) => self.resolver.clone().look_up(host.clone()).await?.iter().map(SocketAddr::ip).collect(),
        };
        let connecting = self.connect(&addresses, port);
        let stream = tokio::time::timeout(CONNECT_TIMEOUT, connecting).await.map_err(|_| ProxyError::Slow)??;
        let mut known = http::Extensions::new();
        stream.connected().get_extras(&mut known);
        let info = known.remove::<HttpInfo>();
        if !is_tls {
            return Ok(Tunnel { stream: TokioIo::new(Box::new(stream)), info });
        }
        let name = ServerName::try_from(host)?;
        let shaking_hands = self.tls.connect(name, stream);
        let stream = tokio::time::timeout(CONNECT_TIMEOUT, shaking_hands).await;
        let stream = stream.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
        Ok(Tunnel { stream: TokioIo::new(Box::new(stream)), info })
    }

    /// A tunnel to the first address that the proxy connects to.
    async fn connect(&self, addresses: &[IpAddr], port: u16) -> Result<TcpStream, ProxyError> {
        let mut failed = ProxyError::Garbled;
        for address in addresses {
            match self.connect_to(SocketAddr::new(*address, port)).await {
                Err(refused @ ProxyError::Refused(_)) => failed = refused,
                done => return done,
            }
        }
        Err(failed)
    }

    async fn connect_to(&self, target: SocketAddr) -> Result<TcpStream, ProxyError> {
        let place = (self.proxy.host.clone(), self.proxy.port);
        // Look-ups block a thread, and this one has to send.
        let found = self
            .resolver
            .runtime()
            .spawn(async move { tokio::net::lookup_host(place).await.map(Vec::from_iter) })
            .await;
        let found = found.map_err(io::Error::other).flatten().map_err(ProxyError::Unreachable)?;
        let mut stream = TcpStream::connect(&found[..]).await.map_err(ProxyError::Unreachable)?;
        let _ = stream.set_nodelay(true);
        match self.proxy.ask(&mut stream, target).await? {
            200..=299 => Ok(stream),
            status => Err(ProxyError::Refused(status)),
        }
    }
}

/// What the proxy says before the bytes of the tunnel. Who is at its other end speaks only when spoken to.
async fn read_head(stream: &mut (impl AsyncRead + Unpin)) -> Result<Vec<u8>, ProxyError> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let read = stream.read_buf(&mut head).await.map_err(ProxyError::Unreachable)?;
        if read == 0 || head.len() > HEAD_BYTES_MAX {
            return Err(ProxyError::Garbled);
        }
        // A refusal may go on with a page about it, which nobody reads.
        if status(&head).is_some_and(|status| status >= 300) {
            break;
        }
    }
    Ok(head)
}

fn status(head: &[u8]) -> Option<u16> {
    let line = head.split(|byte| *byte == b'\r').next().filter(|line| line.len() < head.len())?;
    let rest = line.strip_prefix(b"HTTP/1.1 ").or_else(|| line.strip_prefix(b"HTTP/1.0 "))?;
    std::str::from_utf8(rest.get(..3)?).ok()?.parse().ok()
}

impl Service<Uri> for Tunnels {
    type Response = Tunnel;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Tunnel, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        Box::pin(self.clone().open(uri))
    }
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// A connection to an endpoint.
pub(super) struct Tunnel {
    stream: TokioIo<Box<dyn Stream>>,
    /// What is known of the connection to the proxy: it tells tunnels apart.
    info: Option<HttpInfo>,
}

impl Connection for Tunnel {
    fn connected(&self) -> Connected {
        let connected = Connected::new();
        match &self.info {
            Some(info) => connected.extra(info.clone()),
            None => connected,
        }
    }
}

impl Read for Tunnel {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl Write for Tunnel {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_is_a_host_with_a_port_and_perhaps_a_password_that_is_never_printed() {
        let proxy = Proxy::parse("http://team:p%40ss%@proxy.internal:3128").expect("a proxy");
        assert_eq!((proxy.host.as_str(), proxy.port), ("proxy.internal", 3128));
        assert_eq!(proxy.authorization, Some(format!("Basic {}", STANDARD.encode("team:p@ss%"))));
        assert!(!format!("{proxy:?}").contains("ss"));
        assert_eq!(Proxy::parse("http://[::1]/").map(|proxy| (proxy.host, proxy.port)), Ok(("::1".to_owned(), 80)));
        for wrong in ["", "proxy:3128", "https://proxy:3128", "socks5://proxy", "http://proxy/path", "http://"] {
            assert_eq!(Proxy::parse(wrong), Err(ProxyUrlError), "{wrong}");
        }
    }

    #[tokio::test]
    async fn the_head_of_the_answer_is_read_to_its_end_and_not_for_ever() {
        let read = async |text: &str| read_head(&mut text.as_bytes()).await.map(|head| status(&head));
        assert!(matches!(read("HTTP/1.1 200 OK\r\nvia: x\r\n\r\n").await, Ok(Some(200))));
        assert!(matches!(read("HTTP/1.0 407 Who\r\n\r\n<html>").await, Ok(Some(407))));
        for wrong in ["", "HTTP/1.1 200 OK\r\n", &"x".repeat(10_000)] {
            assert!(matches!(read(wrong).await, Err(ProxyError::Garbled)), "{wrong}");
        }
        assert!(matches!(read("SSH-2.0\r\n\r\n").await, Ok(None)));
    }
}
