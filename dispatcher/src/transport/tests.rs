//! Receivers that misbehave, on purpose or not, against the real client.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use angarium_entity::SystemClock;
use angarium_entity::endpoint::MASK;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;

use super::address_guard::AddressGuard;
use super::proxy::Proxy;
use super::*;
use crate::config::IDLE_HOSTS_MAX;

mod hosts;

const TIMEOUT: Duration = Duration::from_millis(400);
static LETTERS: [u8; 65_536] = [b'a'; 65_536];

/// Requests of which one at least goes out on a connection of the pool.
const REQUESTS_MAX: usize = 100;
/// Much more than a receiver gets rid of before it is cut: what we read, and what the sockets of both ends hold.
const SENT_MAX: usize = 32 * 1024 * 1024;
const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

fn transport() -> Transport {
    transport_by(None, IDLE_HOSTS_MAX)
}

fn transport_by(proxy: Option<Proxy>, idle_hosts_max: usize) -> Transport {
    transport_with("127.0.0.0/8", &[], proxy, idle_hosts_max)
}

fn transport_with(
    allowed: &str,
    name_servers: &[SocketAddr],
    proxy: Option<Proxy>,
    idle_hosts_max: usize,
) -> Transport {
    let guard = AddressGuard::new(vec![allowed.parse().expect("a network")]);
    let clock = Arc::new(SystemClock);
    let plan = Plan::new(guard, name_servers, proxy, idle_hosts_max, clock, Handle::current()).expect("a plan");
    Transport::new(plan).expect("a client")
}

/// One that connects by itself, and one through an outbound proxy: the same limits hold for both.
async fn transports() -> [Transport; 2] {
    [transport(), transport_by(Some(proxy().await), IDLE_HOSTS_MAX)]
}

/// An outbound proxy that connects whoever asks.
async fn proxy() -> Proxy {
    let serve = |mut stream: TcpStream, _| async move {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            if stream.read_buf(&mut head).await.unwrap_or(0) == 0 {
                return;
            }
        }
        let head = String::from_utf8(head).expect("text");
        let target = head.split(' ').nth(1).expect("a target");
        let mut other = TcpStream::connect(target).await.expect("somebody is there");
        let _ = stream.write_all(b"HTTP/1.1 200 Connected\r\n\r\n").await;
        let _ = copy_bidirectional(&mut stream, &mut other).await;
    };
    let address = receiver("127.0.0.1:0", serve).await;
    Proxy::parse(&format!("http://{address}")).expect("a proxy")
}

fn request(address: SocketAddr, headers: &[(&str, &str)]) -> Request {
    let header = |(name, value): &(&str, &str)| RequestHeader {
        name: (*name).to_owned(),
        value: (*value).to_owned(),
        secret: true,
    };
    let url = Url::parse(&format!("http://{address}/in")).expect("a URL");
    Request { url, headers: headers.iter().map(header).collect(), body: "{}".to_owned(), timeout: TIMEOUT }
}

/// Serves each connection with `serve`, which is told the number of the connection from 0.
async fn receiver<F>(address: &str, serve: impl Fn(TcpStream, usize) -> F + Send + 'static) -> SocketAddr
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind(address).await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        let mut number = 0;
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream, number));
            number += 1;
        }
    });
    address
}

/// Reads a request to its end; none when the connection was closed before.
async fn read_request(stream: &mut TcpStream) -> Option<String> {
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"\r\n\r\n{}") {
        if stream.read_buf(&mut bytes).await.unwrap_or(0) == 0 {
            return None;
        }
    }
    String::from_utf8(bytes).ok()
}

/// Reads a request, answers `head`, and then writes `more` for as long as somebody takes it. Counts what was taken.
async fn flood(head: &'static [u8], more: &'static [u8]) -> (SocketAddr, Arc<AtomicUsize>) {
    let taken = Arc::new(AtomicUsize::new(0));
    let counter = taken.clone();
    let serve = move |mut stream: TcpStream, _| {
        let counter = counter.clone();
        async move {
            read_request(&mut stream).await;
            let mut next = head;
            while counter.load(Ordering::Relaxed) < SENT_MAX {
                let Ok(written) = stream.write(next).await else { break };
                counter.fetch_add(written, Ordering::Relaxed);
                next = more;
            }
        }
    };
    (receiver("127.0.0.1:0", serve).await, taken)
}

/// The same slowly: a byte every 20 ms.
async fn drip(text: &'static [u8]) -> SocketAddr {
    let serve = move |mut stream: TcpStream, _| async move {
        read_request(&mut stream).await;
        for byte in text.iter().cycle() {
            if stream.write_all(&[*byte]).await.is_err() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    receiver("127.0.0.1:0", serve).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_without_end_is_cut_and_told_apart() {
    let long = b"HTTP/1.1 200 OK\r\nx-long: ";
    for (head, more) in [(&long[..], &LETTERS[..]), (&b"HTTP/1.1 200 OK\r\n"[..], &b"a: b\r\nc: d\r\n"[..])] {
        for transport in transports().await {
            let (address, taken) = flood(head, more).await;
            let failed = transport.send(&request(address, &[])).await.expect_err("there is no answer");
            assert_eq!(failed.message, "the head of the answer is too long, or has too many headers");
            assert_eq!((failed.code, failed.is_ours), (ErrorCode::Protocol, false));
            assert!(taken.load(Ordering::Relaxed) < SENT_MAX);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_body_without_end_only_the_beginning_is_read() {
    let cases: [(&[u8], &[u8]); 3] = [
        (b"HTTP/1.1 500 No\r\n\r\n", &LETTERS),
        (b"HTTP/1.1 500 No\r\ncontent-length: 99999999999\r\n\r\n", &LETTERS),
        (b"HTTP/1.1 500 No\r\ntransfer-encoding: chunked\r\n\r\n", b"4\r\naaaa\r\n"),
    ];
    for (head, more) in cases {
        for transport in transports().await {
            let (address, taken) = flood(head, more).await;
            let answer = transport.send(&request(address, &[])).await.expect("a status");
            assert_eq!((answer.status, answer.body.len(), answer.body_truncated), (500, 16_384, true));
            assert!(taken.load(Ordering::Relaxed) < SENT_MAX);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_compressed_is_not_asked_for_and_not_unpacked() {
    let serve = |mut stream: TcpStream, _| async move {
        let request = read_request(&mut stream).await.expect("a request").to_ascii_lowercase();
        assert!(!request.contains("accept-encoding") && !request.contains("\r\nte:"), "{request}");
        // Ten bytes of gzip that would be more when unpacked.
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 10\r\n\r\n\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\x03").await;
    };
    for transport in transports().await {
        let answer = transport.send(&request(receiver("127.0.0.1:0", serve).await, &[])).await.expect("an answer");
        assert_eq!((answer.body.chars().count(), answer.body_truncated), (10, false));
        assert!(answer.body.starts_with('\u{1f}'), "{:?}", answer.body);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_deadline_is_over_connection_head_and_body() {
    let silent = receiver("127.0.0.1:0", |stream, _| async move {
        let _open = stream;
        std::future::pending::<()>().await;
    })
    .await;
    let hints = drip(b"HTTP/1.1 103 Early Hints\r\n\r\n").await;
    let (flooded, _) =
        flood(b"HTTP/1.1 103 Early Hints\r\n\r\n", b"HTTP/1.1 103 Early Hints\r\nlink: <a>\r\n\r\n").await;
    let head = drip(b"HTTP/1.1 200 OK\r\nx-a: b\r\nx-b: ").await;
    let mut tls = request(silent, &[]);
    tls.url = Url::parse(&format!("https://{silent}/")).expect("a URL");
    for (name, request) in [
        ("silent", request(silent, &[])),
        ("TLS", tls),
        ("hints", request(hints, &[])),
        ("flood", request(flooded, &[])),
        ("head", request(head, &[])),
    ] {
        for transport in transports().await {
            let started = Instant::now();
            let failed = transport.send(&request).await.expect_err("there is no answer");
            assert!(started.elapsed() < TIMEOUT * 4, "{name} took {:?}", started.elapsed());
            let told = (failed.code, failed.message.as_str());
            assert_eq!(told, (ErrorCode::Timeout, "no complete response within 400 ms"), "{name}");
        }
    }
    // A name server that says nothing.
    let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await.expect("a free port");
    let servers = [socket.local_addr().expect("an address")];
    let mut named = request(silent, &[]);
    named.url = Url::parse("http://silent.example/").expect("a URL");
    for proxy in [None, Some(proxy().await)] {
        let transport = transport_with("127.0.0.0/8", &servers, proxy, IDLE_HOSTS_MAX);
        let started = Instant::now();
        let failed = transport.send(&named).await.expect_err("it has no address");
        assert!(started.elapsed() < TIMEOUT * 4, "the name took {:?}", started.elapsed());
        assert_eq!(failed.message, "no complete response within 400 ms");
    }
    let body = receiver("127.0.0.1:0", |mut stream: TcpStream, _| async move {
        read_request(&mut stream).await;
        let _ = stream.write_all(b"HTTP/1.1 202 Accepted\r\ncontent-length: 1000\r\n\r\n").await;
        while stream.write_all(b"a").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    for transport in transports().await {
        let started = Instant::now();
        let answer = transport.send(&request(body, &[])).await.expect("the status had come");
        assert!(started.elapsed() < TIMEOUT * 4 && answer.status == 202 && answer.body_truncated);
    }
}

/// Its queue is full, so that what asks for one more connection is not answered.
#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_takes_no_connection_is_given_up_before_the_request_is() {
    let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
    socket.bind(SocketAddr::from(([127, 0, 0, 1], 0))).expect("a free port");
    let listener = socket.listen(1).expect("it listens");
    let address = listener.local_addr().expect("an address");
    let mut queued = Vec::new();
    while let Ok(Ok(stream)) = tokio::time::timeout(TIMEOUT, TcpStream::connect(address)).await {
        queued.push(stream);
    }
    let mut request = request(address, &[]);
    request.timeout = CONNECT_TIMEOUT * 4;
    let [direct, proxied] = transports().await;
    let started = Instant::now();
    let (direct, proxied) = tokio::join!(direct.send(&request), proxied.send(&request));
    assert!((CONNECT_TIMEOUT..CONNECT_TIMEOUT * 2).contains(&started.elapsed()), "{:?}", started.elapsed());
    let told = |sent: Result<Answer, Failure>| sent.map_err(|failed| (failed.code, failed.message));
    assert_eq!(told(direct), Err((ErrorCode::Timeout, "no connection within 5 s".to_owned())));
    let slow = "the outbound proxy of this server did not connect in time";
    assert_eq!(told(proxied), Err((ErrorCode::Proxy, slow.to_owned())));
}

/// The settings may have changed since the endpoint was saved.
#[tokio::test(flavor = "multi_thread")]
async fn a_literal_address_is_checked_before_every_request() {
    let connections = Arc::new(AtomicUsize::new(0));
    let counter = connections.clone();
    let serve = move |_, _| {
        counter.fetch_add(1, Ordering::Relaxed);
        std::future::ready(())
    };
    let port = receiver("0.0.0.0:0", serve).await.port();
    for proxy in [None, Some(proxy().await)] {
        let transport = transport_with("127.0.0.2/32", &[], proxy, IDLE_HOSTS_MAX);
        for host in
            ["127.0.0.1", "0x7f.1", "2130706433", "0.0.0.0", "[::ffff:127.0.0.1]", "[64:ff9b::127.0.0.1]", "[::1]"]
        {
            let mut request = request(SocketAddr::from(([127, 0, 0, 1], port)), &[]);
            request.url = Url::parse(&format!("http://{host}:{port}/in")).expect("a URL");
            let failed = transport.send(&request).await.expect_err("it is not allowed");
            assert_eq!(failed.code, ErrorCode::ForbiddenAddress, "{host}");
            assert!(!failed.message.contains("127"), "{}", failed.message);
        }
    }
    assert_eq!(connections.load(Ordering::Relaxed), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_was_closed_in_the_pool_is_no_failure_of_the_receiver() {
    for transport in transports().await {
        close_in_the_pool_of(transport).await;
    }
}

async fn close_in_the_pool_of(transport: Transport) {
    let closed = Arc::new(AtomicUsize::new(0));
    let counter = closed.clone();
    // The first connection that is used again takes its second request, and closes without a word.
    let serve = move |mut stream: TcpStream, _| {
        let counter = counter.clone();
        async move {
            let mut is_used_again = false;
            while read_request(&mut stream).await.is_some() {
                if is_used_again && counter.fetch_add(1, Ordering::Relaxed) == 0 {
                    break;
                }
                let _ = stream.write_all(OK).await;
                is_used_again = true;
            }
        }
    };
    let address = receiver("127.0.0.1:0", serve).await;
    // A connection is in the pool only a moment after its answer: the next request may have another.
    for _ in 0..REQUESTS_MAX {
        assert_eq!(transport.send(&request(address, &[])).await.map(|answer| answer.status), Ok(200));
    }
    assert!(closed.load(Ordering::Relaxed) > 0, "a connection of the pool was used, and its request sent again");
    // A new connection that breaks says something about the receiver, and is not tried again.
    let broken = receiver("127.0.0.1:0", |mut stream: TcpStream, _| async move {
        read_request(&mut stream).await;
    })
    .await;
    let failed = transport.send(&request(broken, &[])).await.expect_err("it is closed");
    assert_eq!(
        (failed.code, failed.message.as_str()),
        (ErrorCode::Connection, "the connection was closed before an answer came")
    );
}

/// A receiver without connections to keep takes its second request on a new one, and breaks it: whether it has acted on it,
/// nobody knows.
#[tokio::test(flavor = "multi_thread")]
async fn what_breaks_on_a_new_connection_is_not_sent_again_whoever_answered_before() {
    let heads: [&[u8]; 3] = [
        b"HTTP/1.0 204 No Content\r\n\r\n",
        b"HTTP/1.1 204 No Content\r\nconnection: Close\r\n\r\n",
        b"HTTP/1.1 204 No Content\r\n\r\n",
    ];
    for (head, is_proxied) in heads.into_iter().flat_map(|head| [(head, false), (head, true)]) {
        let proxy = if is_proxied { Some(proxy().await) } else { None };
        let transport = transport_by(proxy, IDLE_HOSTS_MAX);
        let taken = Arc::new(AtomicUsize::new(0));
        let counter = taken.clone();
        let serve = move |mut stream: TcpStream, _| {
            let counter = counter.clone();
            async move {
                read_request(&mut stream).await;
                if counter.fetch_add(1, Ordering::Relaxed) == 0 {
                    let _ = stream.write_all(head).await;
                    let _ = stream.shutdown().await;
                }
            }
        };
        let address = receiver("127.0.0.1:0", serve).await;
        assert_eq!(transport.send(&request(address, &[])).await.map(|answer| answer.status), Ok(204));
        let broken = transport.send(&request(address, &[])).await.expect_err("it is closed");
        // The connection may still have been in the pool, and then a new one was taken; what breaks there is not repeated.
        assert_eq!(broken.message, "the connection was closed before an answer came");
        assert_eq!(taken.load(Ordering::Relaxed), 2, "{}", String::from_utf8_lossy(head));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_header_that_is_none_spoils_no_answer() {
    let serve = |mut stream: TcpStream, _| async move {
        read_request(&mut stream).await;
        let _ = stream
            .write_all(b"HTTP/1.1 201 Created\r\nbad header: x\r\n\xff: y\r\nx-good: z\r\ncontent-length: 0\r\n\r\n")
            .await;
    };
    let answer = transport().send(&request(receiver("127.0.0.1:0", serve).await, &[])).await.expect("an answer");
    assert_eq!(answer.status, 201);
    assert!(answer.headers.0.iter().any(|header| header.name == "x-good"), "{:?}", answer.headers);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_header_that_comes_back_is_kept_out_of_what_is_stored() {
    let serve = |mut stream: TcpStream, _| async move {
        let echo = read_request(&mut stream).await.expect("a request");
        let head =
            format!("HTTP/1.1 500 No\r\nx-echo: Bearer hush-hush-4711\r\ncontent-length: {}\r\n\r\n", echo.len());
        let _ = stream.write_all(format!("{head}{echo}").as_bytes()).await;
    };
    let sent = request(receiver("127.0.0.1:0", serve).await, &[("authorization", "Bearer hush-hush-4711")]);
    let answer = transport().send(&sent).await.expect("an answer");
    assert!(answer.body.to_ascii_lowercase().contains(&format!("authorization: {MASK}\r\n")), "{}", answer.body);
    assert!(!format!("{answer:?}").contains("hush"), "{answer:?}");
}
