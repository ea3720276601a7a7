//! The question for the addresses of a name, which is two: each kind of address is asked for by itself, and either answer
//! may get lost. What one half says must not be taken for the whole.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig};
use hickory_resolver::lookup::Lookup;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::{Name, RecordType};
use hickory_resolver::{Resolver, system_conf};

use super::sockets::Sockets;

/// Longest wait for an answer, after which all name servers are asked once more.
const ANSWER_WITHIN: Duration = Duration::from_millis(1_400);
/// Questions that may be open at one connection to a name server.
const QUESTIONS_MAX: usize = 1_024;
/// What resolv.conf(5) says when it names no server, or is not there.
const LOCAL_SERVER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 53);

/// A kind of address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    V4,
    V6,
}

impl Family {
    pub(super) const fn has(self, address: &SocketAddr) -> bool {
        address.is_ipv4() == matches!(self, Self::V4)
    }
}

/// What the name servers say, and for how long that is said to hold.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// These addresses. Of the family that is lost there may be more.
    Addresses { found: Vec<IpAddr>, lasts: Option<Duration>, lost: Option<Family> },
    /// There is no address of either family.
    Nowhere { lasts: Option<Duration> },
    /// There is no such name.
    Unknown { lasts: Option<Duration> },
}

/// What was answered to one of the questions.
#[derive(Debug)]
struct Half {
    addresses: Vec<IpAddr>,
    /// No such name was said to be there, with records of whatever kind.
    is_unknown: bool,
    lasts: Option<Duration>,
}

/// What asks `servers`, or those of `/etc/resolv.conf` when there are none.
///
/// # Errors
/// Those of the library, on platforms without what it needs.
pub(super) fn asking(servers: &[SocketAddr], sockets: Sockets) -> Result<Resolver<Sockets>, NetError> {
    let config = if servers.is_empty() { of_system() } else { of_servers(servers) };
    let mut builder = Resolver::builder_with_config(config, sockets);
    let options = builder.options_mut();
    options.timeout = ANSWER_WITHIN;
    options.attempts = 1;
    options.use_hosts_file = ResolveHosts::Never;
    options.cache_size = 0;
    options.max_active_requests = QUESTIONS_MAX;
    options.try_tcp_on_error = true;
    builder.build()
}

/// Asks for both kinds of address at once, and waits no longer than `within`.
///
/// # Errors
/// That of the first half that failed, when there is no address and not the word for it either.
pub(super) async fn ask(names: &Resolver<Sockets>, name: Name, within: Duration) -> Result<Answer, NetError> {
    let half = async |kind| match tokio::time::timeout(within, names.lookup(name.clone(), kind)).await {
        Ok(Ok(found)) => Ok(half(&found)),
        Ok(Err(error)) => absence(error),
        Err(_) => Err(NetError::Timeout),
    };
    let (v4, v6) = tokio::join!(half(RecordType::A), half(RecordType::AAAA));
    whole(v4, v6)
}

fn half(found: &Lookup) -> Half {
    Half {
        addresses: found.answers().iter().filter_map(|record| record.data.ip_addr()).collect(),
        is_unknown: false,
        // Of all of the answer, the aliases on the way included.
        lasts: found.answers().iter().map(|record| Duration::from_secs(record.ttl.into())).min(),
    }
}

/// The answer that there is nothing.
fn absence(error: NetError) -> Result<Half, NetError> {
    let NetError::Dns(DnsError::NoRecordsFound(nothing)) = error else { return Err(error) };
    Ok(Half {
        addresses: Vec::new(),
        is_unknown: nothing.response_code == ResponseCode::NXDomain,
        lasts: nothing.negative_ttl.map(|seconds| Duration::from_secs(seconds.into())),
    })
}

fn whole(v4: Result<Half, NetError>, v6: Result<Half, NetError>) -> Result<Answer, NetError> {
    let lost = match (&v4, &v6) {
        (Err(_), Ok(_)) => Some(Family::V4),
        (Ok(_), Err(_)) => Some(Family::V6),
        _ => None,
    };
    let (mut halves, mut failed) = (Vec::new(), None);
    for half in [v4, v6] {
        match half {
            Ok(half) => halves.push(half),
            Err(error) => failed = failed.or(Some(error)),
        }
    }
    let least =
        |counts: fn(&Half) -> bool| halves.iter().filter(|half| counts(half)).filter_map(|half| half.lasts).min();
    if halves.iter().any(has_addresses) {
        // Some name servers deny the name when they do not know the kind of record (RFC 4074, section 4.2).
        let lasts = least(has_addresses);
        return Ok(Answer::Addresses {
            found: halves.into_iter().flat_map(|half| half.addresses).collect(),
            lasts,
            lost,
        });
    }
    if halves.iter().any(|half| half.is_unknown) {
        return Ok(Answer::Unknown { lasts: if lost.is_none() { least(|half| half.is_unknown) } else { None } });
    }
    failed.map_or_else(|| Ok(Answer::Nowhere { lasts: least(|_| true) }), Err)
}

fn has_addresses(half: &Half) -> bool {
    !half.addresses.is_empty()
}

fn of_system() -> ResolverConfig {
    match system_conf::read_system_conf() {
        Ok((config, _)) => ResolverConfig::from_name_servers(config.name_servers),
        Err(error) => {
            tracing::warn!(%error, "no name server is configured; names are asked of {LOCAL_SERVER}");
            of_servers(&[LOCAL_SERVER])
        }
    }
}

fn of_servers(servers: &[SocketAddr]) -> ResolverConfig {
    let server = |address: &SocketAddr| {
        let at_port = |mut connection: ConnectionConfig| {
            connection.port = address.port();
            connection
        };
        let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(at_port);
        NameServerConfig::new(address.ip(), true, connections.into())
    };
    ResolverConfig::from_name_servers(servers.iter().map(server).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Option<Duration> = Some(Duration::from_mins(1));
    const HOUR: Option<Duration> = Some(Duration::from_hours(1));

    fn said(what: &str, lasts: Option<Duration>) -> Result<Half, NetError> {
        let addresses = match what {
            "broken" => return Err(NetError::Dns(DnsError::ResponseCode(ResponseCode::ServFail))),
            "nothing" | "unknown" => Vec::new(),
            address => vec![address.parse().expect("an address")],
        };
        Ok(Half { addresses, is_unknown: what == "unknown", lasts })
    }

    fn nothing(lasts: Option<Duration>) -> Result<Half, NetError> {
        said("nothing", lasts)
    }

    fn unknown(lasts: Option<Duration>) -> Result<Half, NetError> {
        said("unknown", lasts)
    }

    fn broken() -> Result<Half, NetError> {
        said("broken", None)
    }

    fn addresses<const N: usize>(texts: [&str; N], lasts: Option<Duration>, lost: Option<Family>) -> Answer {
        Answer::Addresses { found: texts.map(|text| text.parse().expect("an address")).into(), lasts, lost }
    }

    #[test]
    fn a_half_that_came_is_told_from_the_whole() {
        let (v4, v6) = (|| said("192.0.9.1", HOUR), || said("2a00::1", MINUTE));
        let cases = [
            (v4(), v6(), addresses(["192.0.9.1", "2a00::1"], MINUTE, None)),
            (v4(), nothing(MINUTE), addresses(["192.0.9.1"], HOUR, None)),
            (nothing(None), v6(), addresses(["2a00::1"], MINUTE, None)),
            (v4(), unknown(MINUTE), addresses(["192.0.9.1"], HOUR, None)),
            (unknown(None), v6(), addresses(["2a00::1"], MINUTE, None)),
            (broken(), v6(), addresses(["2a00::1"], MINUTE, Some(Family::V4))),
            (Err(NetError::Timeout), v6(), addresses(["2a00::1"], MINUTE, Some(Family::V4))),
            (v4(), broken(), addresses(["192.0.9.1"], HOUR, Some(Family::V6))),
        ];
        for (v4, v6, answer) in cases {
            let halves = format!("{v4:?} {v6:?}");
            assert_eq!(whole(v4, v6).expect("it is an answer"), answer, "{halves}");
        }
    }

    #[test]
    fn that_there_is_no_address_is_believed_only_of_both_halves_and_that_there_is_no_name_of_either() {
        let cases = [
            (nothing(HOUR), nothing(MINUTE), Answer::Nowhere { lasts: MINUTE }),
            (nothing(None), nothing(None), Answer::Nowhere { lasts: None }),
            (unknown(HOUR), unknown(MINUTE), Answer::Unknown { lasts: MINUTE }),
            (unknown(HOUR), nothing(MINUTE), Answer::Unknown { lasts: HOUR }),
            (nothing(MINUTE), unknown(HOUR), Answer::Unknown { lasts: HOUR }),
            (broken(), unknown(HOUR), Answer::Unknown { lasts: None }),
            (unknown(HOUR), broken(), Answer::Unknown { lasts: None }),
        ];
        for (v4, v6, answer) in cases {
            let halves = format!("{v4:?} {v6:?}");
            assert_eq!(whole(v4, v6).expect("it is an answer"), answer, "{halves}");
        }
        let is_broken = |answer| matches!(answer, Err(NetError::Dns(DnsError::ResponseCode(_))));
        assert!(is_broken(whole(nothing(HOUR), broken())) && is_broken(whole(broken(), nothing(HOUR))));
        assert!(is_broken(whole(broken(), Err(NetError::Timeout))), "the first is told");
    }
}
