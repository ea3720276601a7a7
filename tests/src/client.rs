//! Clients of the API: over HTTP, and over a WebSocket.

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

use crate::MOMENT;

/// A plain HTTP client.
pub fn http_client() -> reqwest::Client {
    // Only fails where it was chosen before, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy().build().expect("a plain client can be made")
}

/// Calls `/graphql` with a key.
#[derive(Clone, Debug)]
pub struct GraphQl {
    client: reqwest::Client,
    base: String,
    headers: Vec<(String, String)>,
}

impl GraphQl {
    /// Calls the server at `base` with `key` in the header `X-API-Key`.
    pub fn new(base: &str, key: &str) -> Self {
        Self { client: http_client(), base: base.to_owned(), headers: vec![("x-api-key".to_owned(), key.to_owned())] }
    }

    /// The same with another key.
    #[must_use]
    pub fn with_key(&self, key: &str) -> Self {
        self.with_headers(&[("x-api-key", key)])
    }

    /// The same with these headers, and no other.
    #[must_use]
    pub fn with_headers(&self, headers: &[(&str, &str)]) -> Self {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Self { headers, ..self.clone() }
    }

    /// The same at another server.
    #[must_use]
    pub fn at(&self, base: &str) -> Self {
        Self { base: base.to_owned(), ..self.clone() }
    }

    /// The headers that it sends.
    pub fn headers(&self) -> &[(String, String)] {
        &self.headers
    }

    /// Status and body of the answer to one operation.
    pub async fn post(&self, query: &str, variables: Value) -> (u16, Value) {
        self.post_body(json!({ "query": query, "variables": variables }).to_string()).await
    }

    /// Status and body of the answer to a body as it is.
    pub async fn post_body(&self, body: String) -> (u16, Value) {
        let answer = self.try_post_body(body).await.expect("the server answers");
        (answer.0, serde_json::from_str(&answer.1).unwrap_or_else(|_| panic!("expected JSON, found {}", answer.1)))
    }

    /// The same, for servers that may be killed meanwhile.
    ///
    /// # Errors
    /// When no complete answer comes.
    pub async fn try_post_body(&self, body: String) -> Result<(u16, String), reqwest::Error> {
        let mut request = self
            .client
            .post(format!("{}/graphql", self.base))
            .header("content-type", "application/json")
            .header("accept", "application/graphql-response+json");
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        let response = request.body(body).send().await?;
        Ok((response.status().as_u16(), response.text().await?))
    }

    /// The data of an operation that has no errors.
    ///
    /// # Panics
    /// When it has.
    pub async fn data(&self, query: &str, variables: Value) -> Value {
        let (status, mut body) = self.post(query, variables).await;
        assert!(status == 200 && body.get("errors").is_none(), "{query}\n{status} {body:#}");
        body["data"].take()
    }

    /// The code of the first error of an operation.
    ///
    /// # Panics
    /// When it has none.
    pub async fn error_code(&self, query: &str, variables: Value) -> String {
        let (_, body) = self.post(query, variables).await;
        crate::builder::text(&body["errors"][0]["extensions"]["code"])
    }

    /// Opens a WebSocket, says who is calling, and subscribes.
    pub async fn subscribe(&self, query: &str, variables: Value) -> Stream {
        let mut socket = Socket::open(&self.base).await;
        let key = self.headers.iter().find(|(name, _)| name == "x-api-key").map(|(_, key)| key.clone());
        socket.send(json!({ "type": "connection_init", "payload": { "apiKey": key } })).await;
        assert_eq!(socket.next().await.expect("an answer")["type"], "connection_ack");
        let payload = json!({ "query": query, "variables": variables });
        socket.send(json!({ "id": "1", "type": "subscribe", "payload": payload })).await;
        Stream { socket }
    }
}

/// A `graphql-transport-ws` socket.
#[derive(Debug)]
pub struct Socket {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
}

impl Socket {
    /// Opens one with the right sub-protocol.
    pub async fn open(base: &str) -> Self {
        Self::try_open(base, &[("sec-websocket-protocol", "graphql-transport-ws")]).await.expect("the socket opens")
    }

    /// Opens one with these headers; the HTTP status where it is refused.
    ///
    /// # Errors
    /// The status.
    pub async fn try_open(base: &str, headers: &[(&'static str, &str)]) -> Result<Self, u16> {
        let url = format!("{}/graphql", base.replace("http", "ws"));
        let mut request = url.into_client_request().expect("a URL");
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse().expect("a header value"));
        }
        match tokio_tungstenite::connect_async(request).await {
            Ok((socket, _)) => Ok(Self { socket }),
            Err(tokio_tungstenite::tungstenite::Error::Http(response)) => Err(response.status().as_u16()),
            Err(error) => panic!("the socket failed: {error}"),
        }
    }

    /// Sends a message.
    pub async fn send(&mut self, message: Value) {
        self.send_text(&message.to_string()).await;
    }

    /// Sends a text as it is.
    pub async fn send_text(&mut self, text: &str) {
        self.socket.send(Message::text(text)).await.expect("the socket takes it");
    }

    /// Sends a message of bytes, which the protocol has none of.
    pub async fn send_binary(&mut self, bytes: &'static [u8]) {
        self.socket.send(Message::binary(bytes)).await.expect("the socket takes it");
    }

    /// How many pings of the WebSocket protocol came before the server went away.
    pub async fn pings_until_its_end(&mut self) -> usize {
        let mut pings = 0;
        loop {
            match tokio::time::timeout(MOMENT, self.socket.next()).await.expect("it ends in time") {
                Some(Ok(Message::Ping(_))) => pings += 1,
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return pings,
            }
        }
    }

    /// The next message, or the code that the socket was closed with. Pings of the server are skipped.
    ///
    /// # Errors
    /// The close code.
    pub async fn next(&mut self) -> Result<Value, u16> {
        loop {
            let received = tokio::time::timeout(MOMENT, self.socket.next()).await.expect("a message comes in time");
            match received.expect("a close frame comes before the end").expect("the frame is right") {
                Message::Text(text) => {
                    let message: Value = serde_json::from_str(&text).expect("JSON");
                    if message["type"] != "ping" {
                        return Ok(message);
                    }
                }
                Message::Close(frame) => return Err(frame.map_or(1005, |frame| frame.code.into())),
                _ => {}
            }
        }
    }
}

/// A running subscription.
#[derive(Debug)]
pub struct Stream {
    socket: Socket,
}

impl Stream {
    /// The data of the next message.
    ///
    /// # Panics
    /// When it is an error, or the stream ends.
    pub async fn next(&mut self) -> Value {
        let mut message = self.socket.next().await.expect("the stream goes on");
        assert!(message["type"] == "next" && message["payload"].get("errors").is_none(), "{message:#}");
        message["payload"]["data"].take()
    }

    /// The next message as it is, or the code that the socket was closed with.
    ///
    /// # Errors
    /// The close code.
    pub async fn next_message(&mut self) -> Result<Value, u16> {
        self.socket.next().await
    }
}
