//! How deliveries are sent, and where to.

use std::thread::available_parallelism;

use angarium_dispatcher::Proxy;
use ipnet::IpNet;

use super::reader::{Reader, boolean, list, number};

/// Most threads that send.
const ARBITERS_MAX: usize = 64;
/// Default of `in_flight_max`.
const IN_FLIGHT: usize = 2_000;
/// Most requests in flight that one thread may be given.
const IN_FLIGHT_MAX: usize = 100_000;

/// Settings of the dispatcher.
#[derive(Clone, Debug)]
pub struct Dispatcher {
    /// Threads that send, each with its own HTTP client.
    ///
    /// `ANGARIUM_ARBITERS`, default the number of cores, from 1 to 64.
    pub arbiters: usize,
    /// Most requests in flight on each of them.
    ///
    /// `ANGARIUM_IN_FLIGHT_MAX`, default 2,000, from 1 to 100,000.
    pub in_flight_max: usize,
    /// Whether `http://` endpoints are accepted.
    ///
    /// `ANGARIUM_ALLOW_HTTP`, `true` or `false`. Default `false`.
    pub allow_http: bool,
    /// Networks that endpoints may be in although they are not public.
    ///
    /// `ANGARIUM_ALLOW_CIDRS`, a list with commas such as `10.1.0.0/16,fd00::/8`. Default none.
    pub allowed: Vec<IpNet>,
    /// The HTTP proxy that every request goes through. Names are resolved and addresses checked before it is asked.
    ///
    /// `ANGARIUM_PROXY_URL`, such as `http://user:password@proxy.internal:3128`. Default none, whatever `HTTPS_PROXY`
    /// says.
    pub proxy: Option<Proxy>,
}

impl Dispatcher {
    pub(super) fn read(reader: &mut Reader) -> Self {
        let network = |text: &str| {
            text.parse().map_err(|_| format!("holds `{text}`, but a network is written like `10.1.0.0/16`"))
        };
        let cores = || available_parallelism().map_or(1, |cores| cores.get().min(ARBITERS_MAX));
        Self {
            arbiters: reader.read("ANGARIUM_ARBITERS", number(1..=ARBITERS_MAX)).unwrap_or_else(cores),
            in_flight_max: reader.read("ANGARIUM_IN_FLIGHT_MAX", number(1..=IN_FLIGHT_MAX)).unwrap_or(IN_FLIGHT),
            allow_http: reader.read("ANGARIUM_ALLOW_HTTP", boolean).unwrap_or(false),
            proxy: reader.read("ANGARIUM_PROXY_URL", |text| Proxy::parse(text).map_err(|error| error.to_string())),
            allowed: reader.read("ANGARIUM_ALLOW_CIDRS", |text| list(text, network)).unwrap_or_default(),
        }
    }
}
