//! A receiver that keeps each request to the byte.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::app::eventually;

/// A request as it came over the connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawRequest {
    /// The request line.
    pub line: String,
    /// Names and values, in order.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: String,
}

impl RawRequest {
    /// A header; empty when missing.
    pub fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|header| header.0 == name).map_or("", |header| &header.1)
    }
}

/// Answers 204 and closes.
#[derive(Debug)]
pub struct RawReceiver {
    url: String,
    requests: Arc<Mutex<Vec<RawRequest>>>,
    server: JoinHandle<()>,
}

impl RawReceiver {
    /// Starts one on a free port.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}/in?a=b", listener.local_addr().expect("an address"));
        let requests: Arc<Mutex<Vec<RawRequest>>> = Arc::default();
        let kept = requests.clone();
        let server = tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let request = read(&mut stream).await;
                kept.lock().expect("no test panics here").push(request);
                let _ = stream.write_all(b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n").await;
            }
        });
        Self { url, requests, server }
    }

    /// Where it listens.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The requests, once there are `count`.
    pub async fn expect_requests(&self, count: usize) -> Vec<RawRequest> {
        eventually(&format!("{count} requests"), async || {
            let came = self.requests.lock().expect("no test panics here").clone();
            (came.len() >= count).then_some(came)
        })
        .await
    }
}

impl Drop for RawReceiver {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn read(stream: &mut TcpStream) -> RawRequest {
    let mut bytes = Vec::new();
    loop {
        if let Some(request) = parse(&bytes) {
            return request;
        }
        assert!(stream.read_buf(&mut bytes).await.expect("the request comes") > 0, "it ends in the middle");
    }
}

/// None while something is missing.
fn parse(bytes: &[u8]) -> Option<RawRequest> {
    let text = std::str::from_utf8(bytes).ok()?;
    let (head, body) = text.split_once("\r\n\r\n")?;
    let mut lines = head.split("\r\n");
    let line = lines.next()?.to_owned();
    let split = |line: &str| line.split_once(": ").map(|(name, value)| (name.to_owned(), value.to_owned()));
    let headers: Vec<_> = lines.map(|line| split(line).expect("a header is a name and a value")).collect();
    let length = headers.iter().find(|header| header.0 == "content-length").expect("its length is told");
    (body.len() == length.1.parse::<usize>().ok()?).then(|| RawRequest { line, headers, body: body.to_owned() })
}
