//! Whether a Redis will do.

use redis::{FromRedisValue, RedisError};

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

/// Connects and looks whether it will do.
///
/// # Errors
/// When it does not answer, or refuses.
pub async fn check(url: &RedisUrl) -> Result<RedisCheck, RedisError> {
    let mut connection = connect(url).await?;
    redis::cmd("PING").query_async::<String>(&mut connection).await?;
    let mut found = RedisCheck { version: None, warnings: Vec::new() };
    let server: String = ask(&mut connection, "INFO", "server").await.unwrap_or_default();
    found.version = field(&server, "redis_version:");
    if found.version.as_deref().is_some_and(is_too_old) {
        found.warnings.push(format!(
            "Redis is {}, and {}.{} or newer is needed.",
            found.version.as_deref().unwrap_or_default(),
            VERSION_MIN.0,
            VERSION_MIN.1
        ));
    }
    // Who manages a server may forbid CONFIG; INFO says the same.
    let memory: String = ask(&mut connection, "INFO", "memory").await.unwrap_or_default();
    match field(&memory, "maxmemory_policy:") {
        Some(policy) if policy != "noeviction" => found.warnings.push(format!(
            "The `maxmemory-policy` of Redis is `{policy}`, so it may drop retry schedules when its memory is full. \
             They are rebuilt from the database whenever that happens; set it to `noeviction`."
        )),
        Some(_) => {}
        None => found
            .warnings
            .push("Redis does not tell its `maxmemory-policy`; make sure that it is `noeviction`.".to_owned()),
    }
    Ok(found)
}

async fn ask<T: FromRedisValue>(connection: &mut Connection, command: &str, section: &str) -> Result<T, RedisError> {
    match connection {
        Connection::One(one) => redis::cmd(command).arg(section).query_async(one).await,
        Connection::Cluster(cluster) => {
            use redis::cluster_routing::{RoutingInfo, SingleNodeRoutingInfo};
            let mut asked = redis::cmd(command);
            asked.arg(section);
            let route = RoutingInfo::SingleNode(SingleNodeRoutingInfo::Random);
            let answer = cluster.route_command(asked, route).await?;
            Ok(T::from_redis_value(answer)?)
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
