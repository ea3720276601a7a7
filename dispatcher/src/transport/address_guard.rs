//! Which addresses may be connected to.

use std::net::IpAddr;

use ipnet::IpNet;
use url::{Host, Url};

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

    /// Whether the host of `url` may be connected to, if it is an address; a name is checked when it is looked up.
    ///
    /// # Errors
    /// [`ForbiddenAddress`].
    pub fn check_url(&self, url: &Url) -> Result<(), ForbiddenAddress> {
        match url.host() {
            Some(Host::Ipv4(address)) => self.check(address.into()),
            Some(Host::Ipv6(address)) => self.check(address.into()),
            Some(Host::Domain(_)) | None => Ok(()),
        }
    }
}

/// The IPv4 address that an IPv6 address stands for (mapped, or NAT64), or the address itself.
fn embedded(address: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = address else { return address };
    if let Some(v4) = v6.to_ipv4_mapped() {
        return v4.into();
    }
    let [a, b, c, d, e, f, high, low] = v6.segments();
    if [a, b, c, d, e, f] == [0x64, 0xff9b, 0, 0, 0, 0] {
        let ([w, x], [y, z]) = (high.to_be_bytes(), low.to_be_bytes());
        return std::net::Ipv4Addr::new(w, x, y, z).into();
    }
    address
}

/// Whether the Internet routes to `address`.
///
/// Source: the IANA special-purpose address registries for IPv4 and IPv6 (RFC 6890).
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            let [a, b, c, _] = v4.octets();
            !matches!(
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
            )
        }
        IpAddr::V6(v6) => {
            let [a, b, ..] = v6.segments();
            // Only 2000::/3 is global unicast; of it, what is tunnelled, reserved or for documents is left out.
            (0x2000..=0x3fff).contains(&a)
                && !(a == 0x2001 && b < 0x200)
                && !(a == 0x2001 && b == 0xdb8)
                && a != 0x2002
                && !(a == 0x3fff && b < 0x1000)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_refused(guard: &AddressGuard, address: &str) -> bool {
        guard.check(address.parse().expect("an address")).is_err()
    }

    #[test]
    fn private_and_special_addresses_are_refused_in_every_form() {
        for address in [
            "0.0.0.0",
            "10.1.2.3",
            "100.64.0.1",
            "127.0.0.1",
            "169.254.169.254",
            "172.31.0.1",
            "192.168.1.1",
            "224.0.0.1",
            "255.255.255.255",
            "192.0.2.1",
            "198.18.0.1",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "64:ff9b::7f00:1",
            "fe80::1",
            "fc00::1",
            "fec0::1",
            "ff02::1",
            "2001::1",
            "2001:db8::1",
            "2002:7f00:1::",
            "3fff::1",
            "::7f00:1",
        ] {
            assert!(is_refused(&AddressGuard::default(), address), "{address}");
        }
    }

    #[test]
    fn public_addresses_are_allowed() {
        for address in
            ["1.1.1.1", "93.184.216.34", "172.32.0.1", "2606:4700::1111", "::ffff:1.1.1.1", "64:ff9b::101:101"]
        {
            assert!(!is_refused(&AddressGuard::default(), address), "{address}");
        }
    }

    #[test]
    fn an_exception_names_its_network() {
        let guard = AddressGuard::new(vec!["127.0.0.0/8".parse().expect("a network")]);
        assert!(!is_refused(&guard, "127.0.0.1") && !is_refused(&guard, "::ffff:127.0.0.1"));
        assert!(is_refused(&guard, "10.0.0.1") && is_refused(&guard, "::1"));
    }

    #[test]
    fn a_url_with_an_address_in_any_spelling_is_checked() {
        for url in
            ["http://127.1/", "http://2130706433/", "http://0x7f000001/", "http://[::1]/", "http://[::ffff:127.0.0.1]/"]
        {
            assert!(AddressGuard::default().check_url(&Url::parse(url).expect("a URL")).is_err(), "{url}");
        }
        assert!(AddressGuard::default().check_url(&Url::parse("https://example.com/").expect("a URL")).is_ok());
    }
}
