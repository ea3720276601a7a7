//! Which addresses may be connected to.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use url::{Host, Url};

/// Public by its number, but in every machine of Azure it is the host, with keys and metadata.
///
/// Source: <https://learn.microsoft.com/azure/virtual-network/what-is-ip-address-168-63-129-16>
const AZURE_HOST: Ipv4Addr = Ipv4Addr::new(168, 63, 129, 16);

/// The rule: public addresses, and those of the networks that the operator allows.
#[derive(Clone, Debug, Default)]
pub struct AddressGuard {
    allowed: Vec<IpNet>,
}

/// An address that may not be connected to.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
#[error("the address {0} is not public, and this server does not allow it")]
pub struct ForbiddenAddress(pub IpAddr);

impl AddressGuard {
    /// Public addresses, and these networks although they are not.
    pub fn new(allowed: Vec<IpNet>) -> Self {
        Self { allowed }
    }

    /// Whether `address` may be connected to.
    ///
    /// # Errors
    /// [`ForbiddenAddress`].
    pub fn check(&self, address: IpAddr) -> Result<(), ForbiddenAddress> {
        let meant = embedded(address);
        let is_allowed = |net: &IpNet| net.contains(&address) || net.contains(&meant);
        if self.allowed.iter().any(is_allowed) || is_public(meant) { Ok(()) } else { Err(ForbiddenAddress(address)) }
    }

    /// Whether the host of `url` may be connected to, as far as the text tells: an address in any spelling, or the name of
    /// this machine itself. Any other name is checked when it is looked up.
    ///
    /// # Errors
    /// [`ForbiddenAddress`].
    pub fn check_url(&self, url: &Url) -> Result<(), ForbiddenAddress> {
        match url.host() {
            Some(Host::Ipv4(address)) => self.check(address.into()),
            Some(Host::Ipv6(address)) => self.check(address.into()),
            Some(Host::Domain(name)) if is_localhost(name) => {
                self.check(Ipv4Addr::LOCALHOST.into()).or_else(|_| self.check(Ipv6Addr::LOCALHOST.into()))
            }
            Some(Host::Domain(_)) | None => Ok(()),
        }
    }
}

/// Source: RFC 6761, section 6.3: `localhost` and all below it are this machine.
fn is_localhost(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name);
    name.rsplit('.').next().is_some_and(|last| last.eq_ignore_ascii_case("localhost"))
}

/// The IPv4 address that an IPv6 address stands for (mapped, or NAT64), or the address itself.
fn embedded(address: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = address else { return address };
    if let Some(v4) = v6.to_ipv4_mapped() {
        return v4.into();
    }
    let [a, b, c, d, e, f, ..] = v6.segments();
    if [a, b, c, d, e, f] == [0x64, 0xff9b, 0, 0, 0, 0] { last_four(v6).into() } else { address }
}

fn last_four(v6: Ipv6Addr) -> Ipv4Addr {
    let [.., w, x, y, z] = v6.octets();
    Ipv4Addr::new(w, x, y, z)
}

/// Whether the Internet routes to `address`.
///
/// Source: the IANA special-purpose address registries for IPv4 and IPv6 (RFC 6890), and what lies beside them.
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => is_public_v4(v4),
        IpAddr::V6(v6) => {
            let [a, b, _, _, e, f, ..] = v6.segments();
            // ISATAP hides an IPv4 address in the interface of any prefix (RFC 5214, section 6.1).
            let is_isatap = matches!(e, 0 | 0x200) && f == 0x5efe;
            // Only 2000::/3 is global unicast; of it, what is tunnelled, reserved or for documents is left out.
            (0x2000..=0x3fff).contains(&a)
                && !(a == 0x2001 && b < 0x200)
                && !(a == 0x2001 && b == 0xdb8)
                && a != 0x2002
                && !(a == 0x3fff && b < 0x1000)
                && (!is_isatap || is_public_v4(last_four(v6)))
        }
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let is_special = matches!(
        (a, b, c),
        (0 | 10 | 127 | 224..=255, _, _)
            | (100, 64..=127, _)
            | (169, 254, _)
            | (172, 16..=31, _)
            | (192, 0, 0 | 2)
            | (192, 88, 99)
            | (192, 168, _)
            | (198, 18 | 19, _)
            | (198, 51, 100)
            | (203, 0, 113)
    );
    !is_special && address != AZURE_HOST
}

#[cfg(test)]
mod tests;
