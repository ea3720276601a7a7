//! Whether a Redis will do.

use std::collections::HashMap;

use redis::{FromRedisValue as _, RedisError};

use super::{Connection, RedisUrl, connect};

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedisCheck {
    /// Such as `7.0.15`; none when the server does not tell.
    pub version: Option<String>,
    /// What people should know, in a sentence each.
    pub warnings: Vec<String>,
}

/// Oldest version that knows all that is used.
const VERSION_MIN: (u32, u32) = (7, 0);

/// Connects and looks whether it will do, as far as it tells by itself.
///
/// # Errors
/// When it does not answer, or refuses.
pub(crate) async fn check(url: &RedisUrl) -> Result<RedisCheck, RedisError> {
    let mut connection = connect(url).await?;
    redis::cmd("PING").query_async::<String>(&mut connection).await?;
    let mut found = RedisCheck { version: None, warnings: Vec::new() };
    let servers = info(&mut connection, "server").await.unwrap_or_default();
    let versions: Vec<String> = servers.iter().filter_map(|server| field(server, "redis_version:")).collect();
    found.version = versions.iter().find(|version| is_too_old(version)).or(versions.first()).cloned();
    if found.version.as_deref().is_some_and(is_too_old) {
        found.warnings.push(format!(
            "Redis is {}, and {}.{} or newer is needed.",
            found.version.as_deref().unwrap_or_default(),
            VERSION_MIN.0,
            VERSION_MIN.1
        ));
    }
    // Who manages a server may forbid CONFIG; INFO says the same.
    let memories = info(&mut connection, "memory").await.unwrap_or_default();
    let policies: Vec<String> = memories.iter().filter_map(|memory| field(memory, "maxmemory_policy:")).collect();
    if let Some(policy) = policies.iter().find(|policy| *policy != "noeviction") {
        found.warnings.push(format!(
            "The `maxmemory-policy` of Redis is `{policy}`, so it may drop retry schedules when its memory is full. \
             They are rebuilt from the database whenever that happens; set it to `noeviction`."
        ));
    } else if policies.is_empty() {
        found
            .warnings
            .push("Redis does not tell its `maxmemory-policy`; make sure that it is `noeviction`.".to_owned());
    }
    Ok(found)
}

/// A section of what the server tells of itself; of a Cluster, each master.
async fn info(connection: &mut Connection, section: &str) -> Result<Vec<String>, RedisError> {
    let mut asked = redis::cmd("INFO");
    asked.arg(section);
    match connection {
        Connection::One(one) => Ok(vec![asked.query_async(one).await?]),
        Connection::Cluster(cluster) => {
            use redis::cluster_routing::{MultipleNodeRoutingInfo, RoutingInfo};
            let route = RoutingInfo::MultiNode((MultipleNodeRoutingInfo::AllMasters, None));
            let by_address = cluster.route_command(asked, route).await?;
            Ok(HashMap::<String, String>::from_redis_value(by_address)?.into_values().collect())
        }
    }
}

fn field(info: &str, name: &str) -> Option<String> {
    info.lines().find_map(|line| line.strip_prefix(name)).map(|value| value.trim().to_owned())
}

fn is_too_old(version: &str) -> bool {
    let mut numbers = version.split('.').map(|number| number.parse::<u32>().unwrap_or(u32::MAX));
    (numbers.next().unwrap_or(u32::MAX), numbers.next().unwrap_or(u32::MAX)) < VERSION_MIN
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_by_their_numbers() {
        assert!(is_too_old("6.2.14") && !is_too_old("7.0.0") && !is_too_old("10.1"));
        assert_eq!(
            field("# Memory\r\nmaxmemory_policy:noeviction\r\n", "maxmemory_policy:").as_deref(),
            Some("noeviction")
        );
    }
}
