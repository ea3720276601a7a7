//! URLs of endpoints and the address guard: no spelling of an address that is not public gets through.

#![no_main]

use std::net::IpAddr;

use angarium_dispatcher::{AddressGuard, Proxy};
use angarium_entity::endpoint::url;
use libfuzzer_sys::fuzz_target;

mod oracle;

use oracle::is_inside;

fuzz_target!(|data: &[u8]| {
    let guard = AddressGuard::default();
    if let Ok(octets) = <[u8; 4]>::try_from(data) {
        let address = IpAddr::from(octets);
        assert!(guard.check(address).is_err() || !is_inside(address), "{address}");
    }
    if let Ok(octets) = <[u8; 16]>::try_from(data) {
        let address = IpAddr::from(octets);
        assert!(guard.check(address).is_err() || !is_inside(address), "{address}");
    }
    let Ok(text) = std::str::from_utf8(data) else { return };
    let _ = Proxy::parse(text);
    let Ok(url) = url::parse(text, true) else { return };
    assert!(url.username().is_empty() && url.password().is_none() && url.fragment().is_none(), "{url}");
    assert!(matches!(url.scheme(), "http" | "https"), "{url}");
    // What is stored is the text; what is connected to is read from it again.
    assert_eq!(url::parse(url.as_str(), true).map(|again| again.host().map(|host| host.to_owned())), Ok(url.host().map(|host| host.to_owned())));
    if guard.check_url(&url).is_ok() {
        let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
        assert!(host.parse::<IpAddr>().is_err() || !host.parse().is_ok_and(is_inside), "{url}");
        assert!(!host.trim_end_matches('.').eq_ignore_ascii_case("localhost"), "{url}");
    }
});
