//! Which URLs and addresses may be asked at all.
//!
//! A list of URLs is written by strangers: an address in it, behind a name in it or behind a redirect may be a router, a
//! cloud's metadata service or this machine.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::LazyLock;

use ipnet::{Ipv4Net, Ipv6Net};
use lcl_schemas::outcome::Outcome;
use url::{Host, Url};

/// IANA's special-purpose registry (RFC 6890 and later), but for what is globally reachable; multicast; reserved.
const NOT_PUBLIC_V4: [&str; 15] = [
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.0.2.0/24",
    "192.88.99.0/24",
    "192.168.0.0/16",
    "198.18.0.0/15",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "224.0.0.0/4",
    "240.0.0.0/4",
];

/// Within `2000::/3`, the only global unicast space: protocol assignments (Teredo among them) and documentation.
const NOT_PUBLIC_V6: [&str; 3] = ["2001::/23", "2001:db8::/32", "3fff::/20"];

static V4: LazyLock<Vec<Ipv4Net>> = LazyLock::new(|| {
    NOT_PUBLIC_V4
        .map(|net| net.parse().expect("a constant, tested"))
        .to_vec()
});
static V6: LazyLock<Vec<Ipv6Net>> = LazyLock::new(|| {
    NOT_PUBLIC_V6
        .map(|net| net.parse().expect("a constant, tested"))
        .to_vec()
});

/// Whether other networks may be reached too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    Public,
    Any,
}

/// A name that has only addresses which may not be asked.
#[derive(Debug, thiserror::Error)]
#[error("every address of the name is a private one")]
pub(super) struct PrivateAddress;

/// Reads a URL that may be asked: http or https, with a host that is no forbidden address.
pub(super) fn check(url: &Url, reach: Reach, ports: &[u16]) -> Result<(), Outcome> {
    if !matches!(url.scheme(), "http" | "https") {
        return Err(Outcome::BadUrl);
    }
    // Behind other ports are services that read an HTTP request as something else.
    let port = url.port_or_known_default();
    if reach == Reach::Public && !port.is_some_and(|port| ports.contains(&port)) {
        return Err(Outcome::Port);
    }
    // `url` has already read 0x7f.1, 2130706433 and the like as the addresses that they are.
    let address = match url.host() {
        None => return Err(Outcome::BadUrl),
        Some(Host::Domain(_)) => return Ok(()),
        Some(Host::Ipv4(address)) => IpAddr::V4(address),
        Some(Host::Ipv6(address)) => IpAddr::V6(address),
    };
    match allows(address, reach) {
        true => Ok(()),
        false => Err(Outcome::PrivateAddress),
    }
}

pub(super) fn allows(address: IpAddr, reach: Reach) -> bool {
    reach == Reach::Any
        || match address {
            IpAddr::V4(address) => is_public_v4(address),
            IpAddr::V6(address) => is_public_v6(address),
        }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    !V4.iter().any(|net| net.contains(&address))
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    match embedded(address) {
        Some(inner) => is_public_v4(inner),
        None => {
            address.segments()[0] & 0xE000 == 0x2000 && !V6.iter().any(|net| net.contains(&address))
        }
    }
}

/// The IPv4 address that a translator or tunnel would go on to.
fn embedded(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let inner = |high: u16, low: u16| {
        let [[a, b], [c, d]] = [high.to_be_bytes(), low.to_be_bytes()];
        Ipv4Addr::new(a, b, c, d)
    };
    match address.segments() {
        // ::a.b.c.d, ::ffff:a.b.c.d, ::ffff:0:a.b.c.d, 64:ff9b::a.b.c.d
        [0, 0, 0, 0, 0, 0, high, low]
        | [0, 0, 0, 0, 0, 0xFFFF, high, low]
        | [0, 0, 0, 0, 0xFFFF, 0, high, low]
        | [0x64, 0xFF9B, 0, 0, 0, 0, high, low] => Some(inner(high, low)),
        // 6to4
        [0x2002, high, low, ..] => Some(inner(high, low)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(url: &str) -> Result<(), Outcome> {
        check(&Url::parse(url).expect("a URL"), Reach::Public, &[80, 443])
    }

    #[test]
    fn a_private_address_is_refused_however_it_is_written() {
        for host in [
            "127.0.0.1",
            "127.1",
            "2130706433",
            "0x7f000001",
            "017700000001",
            "0",
            "10.1.2.3",
            "172.31.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "198.19.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "[::]",
            "[::1]",
            "[::ffff:10.0.0.1]",
            "[::10.0.0.1]",
            "[64:ff9b::127.0.0.1]",
            "[64:ff9b:1::1]",
            "[2002:7f00:1::]",
            "[fe80::1]",
            "[fd00::1]",
            "[ff02::1]",
            "[2001::1]",
            "[2001:db8::1]",
        ] {
            let url = format!("http://{host}/a.jpg");
            assert_eq!(outcome(&url), Err(Outcome::PrivateAddress), "{host}");
        }
    }

    #[test]
    fn public_addresses_and_names_pass() {
        for host in [
            "93.184.216.34",
            "example.org",
            "[2606:2800:220:1::1]",
            "[64:ff9b::8.8.8.8]",
            "[2002:808:808::]",
            "172.32.0.1",
        ] {
            assert_eq!(outcome(&format!("https://{host}/")), Ok(()), "{host}");
        }
    }

    #[test]
    fn only_listed_ports_are_asked() {
        assert_eq!(outcome("http://example.org:6379/"), Err(Outcome::Port));
        assert_eq!(outcome("https://example.org:80/"), Ok(()));
    }

    #[test]
    fn other_schemes_are_bad_urls() {
        for url in [
            "file:///etc/passwd",
            "ftp://example.org/",
            "data:image/png;base64,",
            "mailto:a@b",
        ] {
            assert_eq!(outcome(url), Err(Outcome::BadUrl), "{url}");
        }
    }
}
