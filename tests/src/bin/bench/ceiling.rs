//! What the machine can do with nothing between: straight signed POSTs from a client to the receiver, and writes that are
//! on the disk before the next begins.

use std::fs::File;
use std::io::{Seek as _, SeekFrom, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crate::client::{Client, client, post};
use crate::mark::{Mark, now_micros};
use crate::receiver::{Receiver, Way, key, sign};
use crate::result::per_second;

/// Connections, as the publishers of most scenarios.
const CONNECTIONS: usize = 64;
const LASTS: Duration = Duration::from_secs(4);
/// As a database logs a small commit: within a file that has its size already.
const WRITE_BYTES: usize = 8 * 1024;
const WRITES: u64 = 500;

/// Requests per second.
pub(crate) async fn measure(receiver: &Receiver, payload_bytes: usize) -> f64 {
    let (client, number) = (client(), Arc::new(AtomicU32::new(0)));
    let begun = Instant::now();
    let senders: Vec<_> = (0..CONNECTIONS)
        .map(|connection| {
            let url = receiver.url(Way::Any, connection);
            tokio::spawn(send(client.clone(), url, number.clone(), payload_bytes, begun + LASTS))
        })
        .collect();
    for sender in senders {
        sender.await.expect("a sender does not panic");
    }
    per_second(receiver.tally().take().accepted, begun.elapsed())
}

/// Durable writes per second, one after the other: what waits for its commit before it goes on cannot be faster.
pub(crate) fn durable_writes() -> std::io::Result<f64> {
    let path = std::env::temp_dir().join(format!("angarium-bench-{}", std::process::id()));
    let measured = File::create_new(&path).and_then(|mut file| {
        let page = [1; WRITE_BYTES];
        (0..WRITES).try_for_each(|_| file.write_all(&page))?;
        file.sync_all()?;
        file.seek(SeekFrom::Start(0))?;
        let begun = Instant::now();
        for _ in 0..WRITES {
            file.write_all(&page)?;
            file.sync_data()?;
        }
        Ok(per_second(WRITES, begun.elapsed()))
    });
    std::fs::remove_file(&path)?;
    measured
}

async fn send(client: Client, url: String, number: Arc<AtomicU32>, payload_bytes: usize, until: Instant) {
    let key = key();
    while Instant::now() < until {
        let mark = Mark::now(0, number.fetch_add(1, Ordering::Relaxed));
        let body = format!("{{\"type\":\"bench\",\"data\":{}}}", mark.payload(payload_bytes));
        let (id, timestamp) = (format!("evt_{}", mark.number), (now_micros() / 1_000_000).to_string());
        let signature = sign(&key, &id, &timestamp, body.as_bytes());
        let headers = [("webhook-id", &*id), ("webhook-timestamp", &*timestamp), ("webhook-signature", &*signature)];
        post(&client, &url, &headers, body.into()).await.expect("the receiver answers");
    }
}
