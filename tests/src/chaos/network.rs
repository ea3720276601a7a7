//! Namespaces of the network, one per node, on a bridge of their own: what is pulled out there is lost without a word, for
//! connections that there are, for new ones and for whatever the kernel sends by itself.
//!
//! Needs root and `ip` of iproute2. All that is made here is private to this machine and gone with the value.

use std::net::{IpAddr, Ipv4Addr};
use std::process::Command;

use rand::RngExt as _;

/// The part of 10.0.0.0/8 from which a network of 256 addresses is drawn.
const SECOND: u8 = 213;

/// A bridge with a namespace for each node.
#[derive(Debug)]
pub struct Network {
    /// What the names of all its parts begin with.
    name: String,
    third: u8,
    nodes: usize,
}

impl Network {
    /// Whether this process may make one; if not, why.
    ///
    /// # Errors
    /// What `ip` said.
    pub fn is_allowed() -> Result<(), String> {
        Self::create(1).map(drop)
    }

    /// Makes one for so many nodes.
    ///
    /// # Errors
    /// What `ip` said.
    pub fn create(nodes: usize) -> Result<Self, String> {
        let third = rand::rng().random();
        // Names of interfaces have 15 bytes at most.
        let network = Self { name: format!("ac{:06x}", rand::random::<u32>() >> 8), third, nodes };
        let bridge = &network.name;
        ip(&format!("link add {bridge} type bridge"))?;
        ip(&format!("addr add {}/24 dev {bridge}", network.host()))?;
        ip(&format!("link set {bridge} up"))?;
        for node in 0..nodes {
            let (namespace, wire) = (network.namespace(node), network.wire(node));
            ip(&format!("netns add {namespace}"))?;
            ip(&format!("link add {wire} type veth peer name eth0 netns {namespace}"))?;
            ip(&format!("-n {namespace} addr add {}/24 dev eth0", network.address(node)))?;
            ip(&format!("-n {namespace} link set lo up"))?;
            ip(&format!("-n {namespace} link set eth0 up"))?;
            ip(&format!("link set {wire} master {bridge} up"))?;
        }
        Ok(network)
    }

    /// Where the nodes find what runs outside.
    pub fn host(&self) -> IpAddr {
        self.at(1)
    }

    /// The address of a node.
    pub fn address(&self, node: usize) -> IpAddr {
        self.at(u8::try_from(node).unwrap_or(u8::MAX).saturating_add(2))
    }

    /// The network, as CIDR.
    pub fn cidr(&self) -> String {
        format!("{}/24", self.at(0))
    }

    /// The name of the namespace of a node.
    pub fn namespace(&self, node: usize) -> String {
        format!("{}n{node}", self.name)
    }

    /// Pulls a node out. It does not see it: its interface stays up.
    pub fn pull_out(&self, node: usize) {
        ip(&format!("link set {} nomaster", self.wire(node))).expect("it was plugged in");
    }

    /// Plugs it in again.
    pub fn plug_in(&self, node: usize) {
        ip(&format!("link set {} master {}", self.wire(node), self.name)).expect("it was pulled out");
    }

    fn at(&self, last: u8) -> IpAddr {
        Ipv4Addr::new(10, SECOND, self.third, last).into()
    }

    fn wire(&self, node: usize) -> String {
        format!("{}w{node}", self.name)
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        // What was not made is not there to be removed.
        for node in 0..self.nodes {
            let _ = ip(&format!("link del {}", self.wire(node)));
            let _ = ip(&format!("netns del {}", self.namespace(node)));
        }
        let _ = ip(&format!("link del {}", self.name));
    }
}

/// Runs `ip` with these arguments.
fn ip(arguments: &str) -> Result<(), String> {
    let ran = Command::new("ip").args(arguments.split(' ')).output().map_err(|error| format!("ip: {error}"))?;
    if ran.status.success() {
        return Ok(());
    }
    Err(format!("ip {arguments}: {}", String::from_utf8_lossy(&ran.stderr).trim()))
}
