//! What is kept of hosts, however many there are. Every address of 127.0.0.0/8 is a host of its own.

use futures_util::StreamExt as _;

use super::*;
use crate::config::IDLE_PER_HOST;

/// Hosts with unused connections where a proxy has two sockets more for each.
const FEW_HOSTS: usize = 128;
/// Hosts that are remembered to have answered, and some of them that get a request; `tests/bench hosts` asks as many.
const MANY_HOSTS: usize = 100_000;
const SOME_HOSTS: usize = 12_000;
/// Requests at the same time.
const AT_ONCE: usize = 32;
/// Of these hosts on, nothing more may be kept of each.
const SETTLED: usize = 6_000;
/// What the allocator may take beside, where it would be some 100 MB with a connection of each host.
const GROWTH_MAX: u64 = 8 << 20;
/// Longest wait for what the other end of a connection is told.
const WITHIN: Duration = Duration::from_secs(20);

/// Answers at every address, and counts the connections that are open.
struct Everywhere {
    port: u16,
    open: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
}

impl Everywhere {
    async fn start() -> Self {
        let (open, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (counter, highest) = (open.clone(), most.clone());
        let serve = move |mut stream: TcpStream, _| {
            let (counter, highest) = (counter.clone(), highest.clone());
            async move {
                highest.fetch_max(counter.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
                while read_request(&mut stream).await.is_some() {
                    let _ = stream.write_all(OK).await;
                }
                counter.fetch_sub(1, Ordering::Relaxed);
            }
        };
        Self { port: receiver("0.0.0.0:0", serve).await.port(), open, most }
    }

    fn request(&self, host: usize) -> Request {
        let [_, high, middle, low] = u32::try_from(host).expect("few").to_be_bytes();
        let mut request = request(SocketAddr::from(([127, high + 1, middle, low], self.port)), &[]);
        request.timeout = WITHIN;
        request
    }

    /// Waits until no more than `count` are open.
    async fn closes_to(&self, count: usize) {
        let deadline = Instant::now() + WITHIN;
        while self.open.load(Ordering::Relaxed) > count {
            assert!(Instant::now() < deadline, "{} are open", self.open.load(Ordering::Relaxed));
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn unused_connections_are_bounded_over_all_hosts() {
    bound(transport(), IDLE_HOSTS_MAX).await;
    bound(transport_by(Some(proxy().await), FEW_HOSTS), FEW_HOSTS).await;
}

async fn bound(transport: Transport, hosts_max: usize) {
    let everywhere = Everywhere::start().await;
    let hosts = hosts_max * 3 / 2;
    for host in 0..hosts {
        assert_eq!(transport.send(&everywhere.request(host)).await.map(|answer| answer.status), Ok(200), "{host}");
    }
    let most = everywhere.most.load(Ordering::Relaxed);
    assert!((hosts_max / 2..=hosts_max + 64).contains(&most), "{most}");
    // What the first client kept is closed, and the second works.
    everywhere.closes_to(hosts - hosts_max).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_connections_to_one_host_few_are_kept() {
    for transport in transports().await {
        let everywhere = Everywhere::start().await;
        let request = everywhere.request(0);
        let sending = (0..AT_ONCE).map(|_| transport.send(&request));
        for answer in futures_util::future::join_all(sending).await {
            assert_eq!(answer.map(|answer| answer.status), Ok(200));
        }
        assert!(everywhere.most.load(Ordering::Relaxed) > IDLE_PER_HOST, "more were needed");
        everywhere.closes_to(IDLE_PER_HOST).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_hundred_thousand_hosts_no_more_are_remembered_than_may_have_a_connection() {
    let transport = transport();
    let end = |host: usize| SocketAddr::from(([127, 0, 0, 1], u16::try_from(host % 60_000 + 1).expect("a port")));
    let name = |host: usize| format!("host-{host}.example:443");
    for host in 0..MANY_HOSTS {
        transport.pool.kept(&name(host), end(host));
        assert!(transport.pool.hosts() <= IDLE_HOSTS_MAX);
    }
    let known = (0..MANY_HOSTS).rev().take_while(|host| transport.pool.was_used(&name(*host), end(*host))).count();
    assert_eq!(known, transport.pool.hosts(), "the latest are known, and the others are forgotten");
    assert!(known > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn thousands_of_hosts_leave_no_more_behind_than_half_of_them() {
    let everywhere = Everywhere::start().await;
    let transport = transport();
    // Of what is kept, as many as fit into the bound or a bit more: the other end is told of a connection that was closed.
    let most = IDLE_HOSTS_MAX + IDLE_HOSTS_MAX / 2 + AT_ONCE;
    let mut settled = 0;
    for hosts in [0..SETTLED, SETTLED..SOME_HOSTS] {
        let mut sending = futures_util::stream::iter(hosts)
            .map(|host| {
                let request = everywhere.request(host);
                let transport = &transport;
                async move { transport.send(&request).await.map(|answer| answer.status) }
            })
            .buffer_unordered(AT_ONCE);
        while let Some(status) = sending.next().await {
            assert_eq!(status, Ok(200));
            assert!(transport.pool.hosts() <= IDLE_HOSTS_MAX);
            assert!(
                everywhere.most.load(Ordering::Relaxed) <= most,
                "{} were open",
                everywhere.most.load(Ordering::Relaxed)
            );
        }
        drop(sending);
        everywhere.closes_to(IDLE_HOSTS_MAX).await;
        let bytes = resident();
        if settled == 0 {
            settled = bytes;
        }
        assert!(bytes < settled + GROWTH_MAX, "{settled} bytes have become {bytes}");
    }
    // Whoever needs the files gets all of them.
    transport.pool.let_go();
    everywhere.closes_to(0).await;
    assert_eq!(transport.pool.hosts(), 0);
}

/// Bytes of this process that are in memory.
fn resident() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm").expect("Linux tells");
    let pages: u64 = pages.split(' ').nth(1).and_then(|pages| pages.parse().ok()).expect("a number");
    pages * 4_096
}
