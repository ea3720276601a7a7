//! Receivers that misbehave below HTTP.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use angarium_tests::on_both_databases;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// Answers each request on a connection of its own with these bytes, and closes. Counts the requests.
async fn raw_receiver(answer: &'static str) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("http://{}/in", listener.local_addr().expect("an address"));
    let requests = Arc::new(AtomicUsize::new(0));
    let counter = requests.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut buffer = [0; 4096];
            if stream.read(&mut buffer).await.is_ok_and(|read| read > 0) {
                counter.fetch_add(1, Ordering::Relaxed);
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        }
    });
    (url, requests)
}

on_both_databases! {
    async fn a_200_whose_body_breaks_is_a_success_and_is_not_sent_again(app) {
        let (url, requests) = raw_receiver("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nabc").await;
        app.subscribe(&url).await;
        app.publish(json!(1)).await;
        let delivery = app.delivery_in("SUCCEEDED").await;
        let response = &delivery["attempts"]["nodes"][0]["response"];
        assert_eq!(response, &json!({ "statusCode": 200, "body": "abc", "bodyTruncated": true }));
        assert_eq!(requests.load(Ordering::Relaxed), 1);
        app.end().await;
    }

    async fn a_410_whose_body_breaks_suspends_all_the_same(app) {
        let (url, _) = raw_receiver("HTTP/1.1 410 Gone\r\ncontent-length: 100\r\n\r\nabc").await;
        app.subscribe(&url).await;
        app.publish(json!(1)).await;
        assert_eq!(app.delivery_in("RETRYING").await["endpoint"]["status"], "SUSPENDED");
        app.end().await;
    }

    async fn a_receiver_that_closes_without_an_answer_is_asked_once_in_an_attempt(app) {
        let (url, requests) = raw_receiver("").await;
        app.subscribe(&url).await;
        for round in 1..=2 {
            app.publish(json!(round)).await;
            app.deliveries_in("RETRYING", round).await;
        }
        assert_eq!(requests.load(Ordering::Relaxed), 2);
        app.end().await;
    }

    async fn an_answer_that_is_no_http_is_told_apart(app) {
        let (url, _) = raw_receiver("SSH-2.0-OpenSSH_9.9\r\n").await;
        app.subscribe(&url).await;
        app.publish(json!(1)).await;
        let delivery = app.delivery_in("RETRYING").await;
        assert_eq!(delivery["attempts"]["nodes"][0]["error"]["code"], "PROTOCOL");
        app.end().await;
    }
}
