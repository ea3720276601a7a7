//! Which addresses are not public, written down a second time: as the prefixes of the IANA special-purpose registries and not
//! as the guard says it, which must never know better.
//!
//! Source  <https://www.iana.org/assignments/iana-ipv4-special-registry>, <https://www.iana.org/assignments/iana-ipv6-special-registry>

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Prefix and length.
pub(crate) const V4: [([u8; 4], u32); 17] = [
    ([0, 0, 0, 0], 8),
    ([10, 0, 0, 0], 8),
    // Shared by the customers of a provider (CGNAT).
    ([100, 64, 0, 0], 10),
    ([127, 0, 0, 0], 8),
    ([169, 254, 0, 0], 16),
    ([172, 16, 0, 0], 12),
    ([192, 0, 0, 0], 24),
    ([192, 0, 2, 0], 24),
    // Relays of 6to4.
    ([192, 88, 99, 0], 24),
    ([192, 168, 0, 0], 16),
    // Benchmarks.
    ([198, 18, 0, 0], 15),
    ([198, 51, 100, 0], 24),
    ([203, 0, 113, 0], 24),
    ([224, 0, 0, 0], 4),
    // Reserved, and broadcast.
    ([240, 0, 0, 0], 4),
    ([255, 255, 255, 255], 32),
    ([168, 63, 129, 16], 32),
];

/// The same.
pub(crate) const V6: [([u16; 8], u32); 15] = [
    // NAT64 of the own network.
    ([0x64, 0xff9b, 1, 0, 0, 0, 0, 0], 48),
    ([0, 0, 0, 0, 0, 0, 0, 0], 8),
    ([0x100, 0, 0, 0, 0, 0, 0, 0], 64),
    // Teredo.
    ([0x2001, 0, 0, 0, 0, 0, 0, 0], 32),
    ([0x2001, 2, 0, 0, 0, 0, 0, 0], 48),
    ([0x2001, 0x10, 0, 0, 0, 0, 0, 0], 28),
    ([0x2001, 0x20, 0, 0, 0, 0, 0, 0], 28),
    ([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0], 32),
    // 6to4.
    ([0x2002, 0, 0, 0, 0, 0, 0, 0], 16),
    ([0x3fff, 0, 0, 0, 0, 0, 0, 0], 20),
    // Segment routing.
    ([0x5f00, 0, 0, 0, 0, 0, 0, 0], 16),
    ([0xfc00, 0, 0, 0, 0, 0, 0, 0], 7),
    ([0xfe80, 0, 0, 0, 0, 0, 0, 0], 10),
    ([0xfec0, 0, 0, 0, 0, 0, 0, 0], 10),
    ([0xff00, 0, 0, 0, 0, 0, 0, 0], 8),
];

/// Prefixes of IPv6 before an address of IPv4, which is what is meant: mapped, and NAT64.
pub(crate) const BEFORE_V4: [[u16; 8]; 2] = [[0, 0, 0, 0, 0, 0xffff, 0, 0], [0x64, 0xff9b, 0, 0, 0, 0, 0, 0]];

/// Whether it is not public.
pub(crate) fn is_inside(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            let begins = |(prefix, length): ([u8; 4], u32)| {
                (v4.to_bits() ^ Ipv4Addr::from(prefix).to_bits()).leading_zeros() >= length
            };
            V4.into_iter().any(begins)
        }
        IpAddr::V6(v6) => {
            let shared = |prefix: [u16; 8]| (v6.to_bits() ^ Ipv6Addr::from(prefix).to_bits()).leading_zeros();
            if BEFORE_V4.into_iter().any(|prefix| shared(prefix) >= 96) {
                let [.., a, b, c, d] = v6.octets();
                return is_inside(Ipv4Addr::new(a, b, c, d).into());
            }
            V6.into_iter().any(|(prefix, length)| shared(prefix) >= length)
        }
    }
}
