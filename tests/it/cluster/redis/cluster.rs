//! A Redis Cluster: three masters that share the shards.

use angarium_tests::app::eventually;
use angarium_tests::{RedisCluster, RedisSetup};

use super::retries::{Pair, Retries};

/// With a password; the first host of the URL is none.
async fn start() -> (RedisCluster, String) {
    let cluster = RedisCluster::start(&RedisSetup { password: Some("secret"), ..RedisSetup::default() }).await;
    let url = format!("redis+cluster://:secret@127.0.0.1:1,{}", cluster.hosts());
    (cluster, url)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn retries_leave_on_time_from_every_master_of_a_cluster() {
    let (cluster, url) = start().await;
    let mut retries = Retries::start(&url, 30).await;
    retries.publish().await;
    eventually("each master holds some", async || {
        let mut held = [0; 3];
        for (held, server) in held.iter_mut().zip(&cluster.0) {
            *held = server.keys("ang:*:e:*").await.len();
        }
        (held.iter().sum::<usize>() == 30 && held.iter().all(|held| *held > 0)).then_some(())
    })
    .await;
    retries.all_leave_on_time().await;
    // One forgets.
    let rebuilds = retries.node.report().schedule_rebuilds;
    let () = cluster.0[1].told(&["FLUSHALL"]).await;
    retries.all_leave_on_time().await;
    assert!(retries.node.report().schedule_rebuilds > rebuilds);
    retries.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_hear_each_other_by_a_cluster() {
    let (_cluster, url) = start().await;
    let mut pair = Pair::start(&url).await;
    pair.hear_each_other().await;
    pair.end().await;
}
