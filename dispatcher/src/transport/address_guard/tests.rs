//! Addresses and their spellings, as somebody may write them into the URL of an endpoint.

use angarium_entity::endpoint::url;

use super::*;

/// What the fuzzer judges by.
#[path = "../../../../tests/fuzz/targets/oracle.rs"]
mod oracle;

/// Hosts of URLs that the guard has to refuse, by what they are.
const REFUSED: [(&str, &[&str]); 22] = [
    (
        "this machine, in every spelling of 127.0.0.1 that browsers take",
        &[
            "127.0.0.1",
            "127.0.0.1.",
            "127.1",
            "127.0.1",
            "127.000.000.001",
            "2130706433",
            "0x7f000001",
            "0X7F.1",
            "0x7f.0x0.0x0.0x1",
            "017700000001",
            "0177.0.0.1",
            "0177.0.0.01",
            "0x7f.0.0.01",
            "127.0.0.0x1",
            "%31%32%37.0.0.1",
            "127%2e0%2e0%2e1",
            "①②⑦.⓪.⓪.①",
            "１２７．０．０．１",
            "127。0。0。1",
            "127｡0｡0｡1",
            "127.8.8.8",
            "127.255.255.255",
        ],
    ),
    (
        "this machine by name",
        &["localhost", "LOCALHOST", "localhost.", "a.localhost", "ｌｏｃａｌｈｏｓｔ", "local%68ost"],
    ),
    ("this network", &["0.0.0.0", "0", "0x0", "00.0.0.0", "0.1.2.3", "0.255.255.255"]),
    (
        "private (RFC 1918)",
        &[
            "10.0.0.0",
            "10.1.2.3",
            "10.255.255.255",
            "167772161",
            "0xa000001",
            "012.0.0.1",
            "172.16.0.0",
            "172.31.255.255",
            "0xac100001",
            "192.168.0.1",
            "192.168.255.255",
            "192.168.257",
            "3232235777",
            "0300.0250.1.1",
        ],
    ),
    (
        "carrier-grade NAT, with the metadata of Alibaba Cloud",
        &["100.64.0.0", "100.100.100.200", "100.127.255.255", "1684301000"],
    ),
    (
        "link-local, with the metadata of most clouds",
        &[
            "169.254.0.1",
            "169.254.169.254",
            "169.254.170.2",
            "2852039166",
            "0xa9fea9fe",
            "0251.0376.0251.0376",
            "169.254.43518",
            "169.16689662",
            "169.254.255.255",
        ],
    ),
    ("the host of Azure", &["168.63.129.16", "0xa83f8110", "[::ffff:168.63.129.16]"]),
    (
        "protocol assignments, with the metadata of Oracle Cloud",
        &["192.0.0.1", "192.0.0.170", "192.0.0.192", "192.0.0.255"],
    ),
    (
        "documentation",
        &[
            "192.0.2.1",
            "198.51.100.7",
            "203.0.113.255",
            "[2001:db8::1]",
            "[2001:db8:ffff::1]",
            "[3fff::1]",
            "[3fff:fff::1]",
        ],
    ),
    ("the 6to4 relay", &["192.88.99.1", "192.88.99.255"]),
    ("benchmarks", &["198.18.0.1", "198.19.255.255", "[2001:2::1]"]),
    ("multicast", &["224.0.0.1", "239.255.255.250", "[ff02::1]", "[ff05::1:3]", "[ff0e::1]"]),
    ("reserved and broadcast", &["240.0.0.1", "255.255.255.254", "255.255.255.255", "4294967295", "0xffffffff"]),
    (
        "this machine in IPv6",
        &[
            "[::1]",
            "[0:0:0:0:0:0:0:1]",
            "[0000:0000:0000:0000:0000:0000:0000:0001]",
            "[::]",
            "[0:0::0:0]",
            "[::0.0.0.1]",
        ],
    ),
    (
        "IPv4 mapped into IPv6",
        &[
            "[::ffff:127.0.0.1]",
            "[::FFFF:7f00:1]",
            "[0:0:0:0:0:ffff:7f00:0001]",
            "[::ffff:10.0.0.1]",
            "[::ffff:a9fe:a9fe]",
            "[::ffff:192.168.1.1]",
            "[::ffff:0.0.0.0]",
            "[::ffff:100.64.0.1]",
            "[::ffff:255.255.255.255]",
        ],
    ),
    (
        "IPv4 compatible and translated",
        &["[::127.0.0.1]", "[::7f00:1]", "[::a9fe:a9fe]", "[::8.8.8.8]", "[::ffff:0:127.0.0.1]", "[::ffff:0:8.8.8.8]"],
    ),
    (
        "NAT64 to what is not public",
        &[
            "[64:ff9b::127.0.0.1]",
            "[64:ff9b::7f00:1]",
            "[64:ff9b::a00:1]",
            "[64:ff9b::169.254.169.254]",
            "[64:ff9b:1::8.8.8.8]",
            "[64:ff9b:1:2::1]",
        ],
    ),
    ("6to4", &["[2002:7f00:1::]", "[2002:7f00:1::1]", "[2002:a00:1::1]", "[2002:a9fe:a9fe::1]", "[2002:808:808::1]"]),
    (
        "Teredo, and what else was assigned for protocols",
        &[
            "[2001::1]",
            "[2001:0:7f00:1::]",
            "[2001:0:4136:e378:8000:63bf:3fff:fdd2]",
            "[2001:10::1]",
            "[2001:20::1]",
            "[2001:1ff::1]",
        ],
    ),
    (
        "ISATAP to what is not public",
        &["[2606:4700::5efe:127.0.0.1]", "[2606:4700::200:5efe:10.0.0.1]", "[fe80::5efe:8.8.8.8]"],
    ),
    (
        "unique local, with the metadata of AWS",
        &["[fc00::1]", "[fd00::1]", "[fd00:ec2::254]", "[fd12:3456:789a::1]", "[fdff:ffff::1]"],
    ),
    (
        "link-local, site-local, discarded, segment routing and unassigned",
        &[
            "[fe80::1]",
            "[febf::1]",
            "[fec0::1]",
            "[feff::1]",
            "[100::1]",
            "[100:0:0:1::1]",
            "[5f00::1]",
            "[4000::1]",
            "[1fff::1]",
            "[e000::1]",
        ],
    ),
];

/// What is no address that a URL can hold, or more than the address of an endpoint.
const NO_ENDPOINT: [&str; 15] = [
    "http://user@8.8.8.8/",
    "http://user:password@8.8.8.8/",
    "http://8.8.8.8@127.0.0.1/",
    "http://256.0.0.1/",
    "http://1.2.3.4.5/",
    "http://0x100000000/",
    "http://127.0.0.0x/a b",
    "http://[::1/",
    "http://[fe80::1%25eth0]/",
    "http://[::ffff:127.0.0.256]/",
    "http://[1:2:3:4:5:6:7:8:9]/",
    "http:///",
    "http://127.0.0.1:99999/",
    "file:///etc/passwd",
    "gopher://8.8.8.8/",
];

const ALLOWED: [&str; 20] = [
    "1.1.1.1",
    "8.8.8.8",
    "134744072",
    "9.255.255.255",
    "11.0.0.0",
    "93.184.216.34",
    "100.63.255.255",
    "100.128.0.0",
    "168.63.129.17",
    "172.15.255.255",
    "172.32.0.1",
    "192.0.1.1",
    "192.169.0.1",
    "198.20.0.1",
    "223.255.255.255",
    "[2606:4700::1111]",
    "[2001:4860:4860::8888]",
    "[::ffff:1.1.1.1]",
    "[64:ff9b::101:101]",
    "[2606:4700::5efe:8.8.8.8]",
];

/// The guard's word on a URL with this host, with a path, a port and a query that change nothing.
fn verdicts(guard: &AddressGuard, host: &str) -> Vec<Result<(), ForbiddenAddress>> {
    let texts = ["http://HOST/", "https://HOST:8443/in", "HTTP://HOST/?x=8.8.8.8", "https:\\\\HOST\\in"];
    let parse =
        |text: &str| url::parse(&text.replace("HOST", host), true).unwrap_or_else(|error| panic!("{host}: {error}"));
    texts.map(|text| guard.check_url(&parse(text))).to_vec()
}

#[test]
fn what_is_not_public_is_refused_in_every_spelling() {
    let count: usize = REFUSED.iter().map(|(_, hosts)| hosts.len()).sum();
    assert!(count >= 120, "{count}");
    for (what, hosts) in REFUSED {
        for host in hosts {
            let verdicts = verdicts(&AddressGuard::default(), host);
            assert!(verdicts.iter().all(Result::is_err), "{host} is {what}: {verdicts:?}");
        }
    }
}

#[test]
fn what_is_public_is_allowed() {
    for host in ALLOWED {
        assert!(verdicts(&AddressGuard::default(), host).iter().all(Result::is_ok), "{host}");
    }
}

#[test]
fn what_is_no_address_of_an_endpoint_is_refused_before_the_guard_is_asked() {
    for text in NO_ENDPOINT {
        assert!(url::parse(text, true).is_err(), "{text}");
    }
}

#[test]
fn a_name_is_left_to_the_look_up() {
    for host in
        ["example.com", "metadata.google.internal", "localhost.example.com", "notlocalhost", "xn--bcher-kva.example"]
    {
        assert!(verdicts(&AddressGuard::default(), host).iter().all(Result::is_ok), "{host}");
    }
}

#[test]
fn an_exception_names_its_network() {
    let guard = AddressGuard::new(
        ["127.0.0.0/8", "fd00::/8", "10.1.0.0/16"].map(|net| net.parse().expect("a network")).to_vec(),
    );
    for host in [
        "127.0.0.1",
        "0x7f.1",
        "[::ffff:127.0.0.1]",
        "[64:ff9b::127.0.0.1]",
        "localhost",
        "[fd00::1]",
        "10.1.255.255",
        "8.8.8.8",
    ] {
        assert!(verdicts(&guard, host).iter().all(Result::is_ok), "{host}");
    }
    for host in ["10.0.0.1", "10.2.0.0", "[::1]", "[fc00::1]", "169.254.169.254", "192.168.0.1"] {
        assert!(verdicts(&guard, host).iter().all(Result::is_err), "{host}");
    }
}

#[test]
fn what_the_registries_call_special_is_refused_to_its_edges_and_in_every_dress() {
    let guard = AddressGuard::default();
    let refused = |address: IpAddr| {
        assert!(oracle::is_inside(address), "{address}");
        assert!(guard.check(address).is_err(), "{address}");
    };
    for (prefix, length) in oracle::V4 {
        let first = Ipv4Addr::from(prefix).to_bits();
        let last = first | u32::MAX.checked_shr(length).unwrap_or(0);
        for bits in [first, first + (last - first) / 3, last] {
            let v4 = Ipv4Addr::from_bits(bits);
            refused(v4.into());
            for dress in oracle::BEFORE_V4 {
                refused(Ipv6Addr::from_bits(Ipv6Addr::from(dress).to_bits() | u128::from(bits)).into());
            }
            // Compatible, 6to4 and Teredo are no way either.
            refused(Ipv6Addr::from_bits(bits.into()).into());
            refused(Ipv6Addr::from_bits(0x2002 << 112 | u128::from(bits) << 80 | 1).into());
            refused(Ipv6Addr::from_bits(0x2001 << 112 | u128::from(!bits)).into());
        }
    }
    for (prefix, length) in oracle::V6 {
        let first = Ipv6Addr::from(prefix).to_bits();
        let last = first | u128::MAX.checked_shr(length).unwrap_or(0);
        for bits in [first, first | 0x5555_5555 & last, last] {
            refused(Ipv6Addr::from_bits(bits).into());
        }
    }
    for public in ["1.1.1.1", "100.63.255.255", "100.128.0.0", "2606:4700::1111", "64:ff9b::101:101", "::ffff:1.1.1.1"]
    {
        let address = public.parse().expect("an address");
        assert!(!oracle::is_inside(address) && guard.check(address).is_ok(), "{public}");
    }
}
