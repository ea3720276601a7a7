//! The Redis of the nodes, as it tells of itself.

use angarium_tests::services::services;
use redis::AsyncCommands as _;
use redis::aio::MultiplexedConnection;

pub(crate) struct Redis {
    connection: MultiplexedConnection,
    pub(crate) process: u32,
}

impl Redis {
    /// The private server of the tests, with nothing in it; none where none runs.
    pub(crate) async fn emptied() -> Option<Self> {
        let client = redis::Client::open(services().redis_url.as_str()).ok()?;
        let mut connection = client.get_multiplexed_async_connection().await.ok()?;
        let _: () = connection.flushall().await.ok()?;
        let mut redis = Self { connection, process: 0 };
        redis.process = u32::try_from(redis.info("process_id").await?).ok()?;
        Some(redis)
    }

    /// Commands that it has executed.
    pub(crate) async fn commands(&self) -> Option<i64> {
        self.info("total_commands_processed").await
    }

    /// Bytes of its data, without what an empty server takes.
    pub(crate) async fn bytes(&self) -> Option<i64> {
        self.info("used_memory_dataset").await
    }

    async fn info(&self, field: &str) -> Option<i64> {
        let told: String = redis::cmd("INFO").query_async(&mut self.connection.clone()).await.ok()?;
        told.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))?.trim().parse().ok()
    }
}
