//! A Redis that Sentinel looks after: its master dies or freezes, and the replica takes its place.

use std::time::Duration;

use angarium_tests::app::eventually;
use angarium_tests::{RedisSetup, Sentinels};

use super::retries::{Pair, Retries};

/// With passwords, which are not the same; the first sentinel of the URL is none.
async fn start() -> (Sentinels, String) {
    let setup = RedisSetup { password: Some("first:1"), ..RedisSetup::default() };
    let sentinels = Sentinels::start(&setup, Some("second")).await;
    let url = format!(
        "redis+sentinel://:first%3A1@127.0.0.1:1,{}/{}?sentinelPassword=second",
        sentinels.sentinel.address(),
        Sentinels::MASTER
    );
    (sentinels, url)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn retries_leave_on_time_and_nodes_hear_each_other_by_the_master_that_sentinel_names() {
    let (sentinels, url) = start().await;
    let mut retries = Retries::start(&url, 8).await;
    retries.publish().await;
    eventually("Redis holds them", async || (sentinels.master.keys("ang:*:e:*").await.len() == 8).then_some(())).await;
    retries.all_leave_on_time().await;
    retries.all_leave_on_time().await;
    retries.end().await;
    let mut pair = Pair::start(&url).await;
    pair.hear_each_other().await;
    pair.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_retry_is_lost_or_late_when_the_master_dies_and_the_replica_has_not_got_everything() {
    let (sentinels, url) = start().await;
    let (master, replica) = (&sentinels.master, &sentinels.replica);
    let mut retries = Retries::start(&url, 12).await;
    retries.publish().await;
    eventually("the replica has them", async || (replica.keys("ang:*:e:*").await.len() == 12).then_some(())).await;
    // What the master had not told it yet.
    let () = replica.told(&["CONFIG", "SET", "replica-read-only", "no"]).await;
    let heads = replica.keys("ang:*:h").await;
    let (forgotten, behind) = heads.split_at(heads.len() / 2);
    for head in forgotten {
        let shard = std::str::from_utf8(head).expect("text").trim_end_matches('h');
        for key in replica.keys(&format!("{shard}*")).await {
            let () = replica.told(&[b"DEL".as_slice(), &key]).await;
        }
    }
    for head in behind {
        let () = replica.told(&[b"HINCRBY".as_slice(), head, b"version", b"-1"]).await;
    }
    master.kill();
    sentinels.expect_promotion().await;
    retries.publish().await;
    eventually("it is all there again", async || {
        let mut held = 0;
        for key in replica.keys("ang:*:e:*").await {
            held += replica.told::<usize>(&[b"ZCARD".as_slice(), &key]).await;
        }
        (held == 24).then_some(())
    })
    .await;
    assert!(retries.node.report().schedule_rebuilds > 0);
    retries.all_leave_on_time().await;
    retries.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_hear_each_other_again_when_the_master_has_frozen_with_their_connections_open() {
    let (sentinels, url) = start().await;
    let mut pair = Pair::start(&url).await;
    pair.hear_each_other().await;
    sentinels.master.freeze();
    pair.publish().await;
    sentinels.expect_promotion().await;
    pair.are_connected().await;
    eventually("both nodes listen to the new master", async || {
        let channels: Vec<String> = sentinels.replica.told(&["PUBSUB", "CHANNELS", "ang:*"]).await;
        (channels.len() == 3).then_some(())
    })
    .await;
    // Hints of the meantime may be lost; what they told of is in the rows.
    pair.app.clock.advance(Duration::from_secs(15));
    pair.all_arrive().await;
    pair.hear_each_other().await;
    pair.end().await;
}
