//! One operation over `graphql-transport-ws`.
//!
//! Source <https://github.com/enisdenjo/graphql-ws/blob/master/PROTOCOL.md>

use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use rustls::ClientConfig;
use rustls::pki_types::{InvalidDnsNameError, ServerName};
use rustls_platform_verifier::ConfigVerifierExt as _;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

use super::super::client::{graphql_url, refusal};
use crate::config::Client as Settings;

const PROTOCOL: &str = "graphql-transport-ws";
/// Longest wait for a connection and its acknowledgement.
const OPEN_TIMEOUT: Duration = Duration::from_secs(15);
/// The server pings every 15 s; one that was silent for so long is gone.
const SILENCE_MAX: Duration = Duration::from_secs(45);
/// Close codes after which coming back is of no use: the server does not want our key, or what we say.
const FINAL: [u16; 5] = [4400, 4401, 4403, 4406, 4409];

/// Why there is no next message.
#[derive(Debug, thiserror::Error)]
pub(super) enum SocketError {
    #[error("failed to connect to {0}")]
    Connect(String, #[source] io::Error),
    #[error("the host of the server cannot be checked")]
    Name(#[from] InvalidDnsNameError),
    #[error("failed to prepare TLS")]
    Tls(#[from] rustls::Error),
    #[error("the stream failed")]
    WebSocket(#[source] Box<tungstenite::Error>),
    #[error("the server closed the stream: {1} ({0})")]
    Closed(u16, String),
    #[error("the server was silent for too long")]
    Silent,
    #[error("the server ended the stream")]
    Complete,
    #[error("refused: {0}")]
    Refused(String),
    #[error("the server says something else than {PROTOCOL}")]
    Foreign,
}

impl SocketError {
    /// Whether another try would end the same.
    pub(super) fn is_final(&self) -> bool {
        match self {
            Self::Closed(code, _) => FINAL.contains(code),
            Self::Refused(_) | Self::Foreign | Self::Name(_) | Self::Tls(_) => true,
            Self::Connect(..) | Self::WebSocket(_) | Self::Silent | Self::Complete => false,
        }
    }
}

impl From<tungstenite::Error> for SocketError {
    fn from(error: tungstenite::Error) -> Self {
        Self::WebSocket(Box::new(error))
    }
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// An operation that runs.
pub(super) struct Socket(WebSocketStream<Box<dyn Stream>>);

impl Socket {
    /// Connects, says who we are, and starts the operation.
    pub(super) async fn open(
        settings: &Settings,
        workspace: Option<&str>,
        query: &str,
        variables: &Value,
    ) -> Result<Self, SocketError> {
        let opening = async {
            let mut socket = connect(settings).await?;
            let mut payload = json!({ "apiKey": settings.api_key.reveal() });
            if let Some(workspace) = workspace {
                payload["workspace"] = workspace.into();
            }
            socket.say(&json!({ "type": "connection_init", "payload": payload })).await?;
            while socket.hear().await?["type"] != "connection_ack" {}
            let payload = json!({ "query": query, "variables": variables });
            socket.say(&json!({ "id": "1", "type": "subscribe", "payload": payload })).await?;
            Ok(socket)
        };
        timeout(OPEN_TIMEOUT, opening).await.map_err(|_| SocketError::Silent)?
    }

    /// The data of the next answer.
    pub(super) async fn next(&mut self) -> Result<Value, SocketError> {
        loop {
            let mut message = self.hear().await?;
            match message["type"].as_str() {
                Some("next") => {
                    if let Some(refused) = refusal(&message["payload"]["errors"]) {
                        return Err(SocketError::Refused(refused));
                    }
                    return Ok(message["payload"]["data"].take());
                }
                Some("error") => {
                    return Err(SocketError::Refused(refusal(&message["payload"]).unwrap_or_default()));
                }
                Some("complete") => return Err(SocketError::Complete),
                Some("ping") => self.say(&json!({ "type": "pong" })).await?,
                Some("pong") => {}
                _ => return Err(SocketError::Foreign),
            }
        }
    }

    async fn say(&mut self, message: &Value) -> Result<(), SocketError> {
        Ok(self.0.send(Message::text(message.to_string())).await?)
    }

    async fn hear(&mut self) -> Result<Value, SocketError> {
        loop {
            // Pings of the WebSocket protocol are answered while we read.
            let heard = timeout(SILENCE_MAX, self.0.next()).await.map_err(|_| SocketError::Silent)?;
            match heard.ok_or(tungstenite::Error::ConnectionClosed)?? {
                Message::Text(text) => return serde_json::from_str(&text).map_err(|_| SocketError::Foreign),
                Message::Close(Some(frame)) => {
                    return Err(SocketError::Closed(frame.code.into(), frame.reason.to_string()));
                }
                Message::Close(None) => return Err(tungstenite::Error::ConnectionClosed.into()),
                Message::Binary(_) | Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {}
            }
        }
    }
}

async fn connect(settings: &Settings) -> Result<Socket, SocketError> {
    let url = graphql_url(&settings.url);
    let (host, is_safe) = (url.host_str().unwrap_or_default().to_owned(), url.scheme() == "https");
    let place = (host.trim_matches(['[', ']']).to_owned(), url.port_or_known_default().unwrap_or_default());
    let failed = |error| SocketError::Connect(url.origin().ascii_serialization(), error);
    let plain = TcpStream::connect(place).await.map_err(failed)?;
    let stream: Box<dyn Stream> = if is_safe {
        // Only fails if somebody else has chosen already, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let name = ServerName::try_from(host.trim_matches(['[', ']']).to_owned())?;
        let connector = TlsConnector::from(Arc::new(ClientConfig::with_platform_verifier()?));
        Box::new(connector.connect(name, plain).await.map_err(failed)?)
    } else {
        Box::new(plain)
    };
    let address = url.as_str().replacen("http", "ws", 1);
    let mut request = address.into_client_request()?;
    request.headers_mut().insert("sec-websocket-protocol", HeaderValue::from_static(PROTOCOL));
    let (socket, _) = client_async(request, stream).await?;
    Ok(Socket(socket))
}
