//! URLs that requests are sent to, and which hosts they may name.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use url::{Host, Url};

use super::section::Section;

/// Amazon's metadata service over IPv6; unlike the other metadata addresses it is not link-local.
const METADATA_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254);

/// Longest URL, in bytes.
const URL_BYTES: usize = 2048;

/// Which parts a URL may have.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Query {
    Allowed,
    Refused,
}

/// The URL of `key`: https, or http on a loopback host or with the section's `allow_http`; without userinfo and
/// fragment. The URL itself is never repeated: its userinfo or query may be a secret.
pub(super) fn url(section: &Section<'_>, key: &str, example: &str, query: Query) -> Option<Url> {
    // Read before anything returns, so that a wrong type is always reported.
    let allow_http = section.flag("allow_http");
    let text = section.text(key, example)?;
    let such_as = format!("for example {key} = {example}");
    if text.len() > URL_BYTES {
        let wrong = format!("a URL has at most {URL_BYTES} bytes");
        section.refuse(key, wrong, such_as);
        return None;
    }
    let url = match Url::parse(text) {
        Ok(url) => url,
        Err(error) => {
            section.refuse(key, format!("this is no URL: {error}"), such_as);
            return None;
        }
    };
    let refuse = |wrong: &str, remedy: &str| {
        section.refuse(key, wrong, remedy);
        None
    };
    let host = url.host();
    match url.scheme() {
        "https" => {}
        "http" if host.as_ref().is_some_and(is_loopback) || allow_http? => {}
        "http" => {
            return refuse(
                "http sends everything readable by others",
                &format!("write https, or allow_http = true in [{}]", section.path()),
            );
        }
        _ => return refuse("expected a URL that starts with https://", &such_as),
    }
    if !url.username().is_empty() || url.password().is_some() {
        return refuse("a URL here has no user and no password", "leave them out");
    }
    if url.fragment().is_some() {
        return refuse("a URL here has no fragment (#…)", "leave it out");
    }
    if query == Query::Refused && url.query().is_some() {
        return refuse("a URL here has no query (?…)", "leave it out");
    }
    Some(url)
}

/// Whether a host is an IP literal that only means something inside a machine, a site or a carrier's network:
/// unspecified, loopback, private (RFC 1918), carrier-grade NAT, link-local, unique local, and the same addresses
/// mapped to IPv6. Names are never literals.
#[must_use]
pub fn is_private_literal(host: &Host<&str>) -> bool {
    match address(host) {
        None => false,
        Some(IpAddr::V4(ip)) => {
            let [first, second, ..] = ip.octets();
            first == 0
                || ip.is_loopback()
                || ip.is_private()
                || ip.is_link_local()
                || (first == 100 && second & 0xc0 == 64)
        }
        Some(IpAddr::V6(ip)) => {
            ip.is_unspecified()
                || ip.is_loopback()
                || ip.is_unique_local()
                || ip.is_unicast_link_local()
        }
    }
}

/// Whether a host is a link-local IP literal or that of a cloud's metadata service. These are never told anything.
pub(super) fn is_link_local_literal(host: &Host<&str>) -> bool {
    match address(host) {
        None => false,
        Some(IpAddr::V4(ip)) => ip.is_link_local(),
        Some(IpAddr::V6(ip)) => ip.is_unicast_link_local() || ip == METADATA_V6,
    }
}

/// Whether a request to this URL would reach a server that listens on `listen`, as far as the URL alone can tell.
pub(super) fn reaches(url: &Url, listen: SocketAddr) -> bool {
    let same_host = match url.host() {
        Some(host) if is_loopback(&host) => {
            let everywhere = listen.ip().is_unspecified();
            let same = address(&host).is_none_or(|ip| ip == listen.ip().to_canonical());
            everywhere || (same && listen.ip().is_loopback())
        }
        Some(host) => {
            address(&host).is_some_and(|ip| ip == listen.ip().to_canonical() || ip.is_unspecified())
        }
        None => false,
    };
    same_host && listen.port() != 0 && url.port_or_known_default() == Some(listen.port())
}

/// localhost, 127.0.0.0/8 or ::1, as literally written.
fn is_loopback(host: &Host<&str>) -> bool {
    match host {
        Host::Domain(name) => *name == "localhost",
        Host::Ipv4(ip) => ip.is_loopback(),
        Host::Ipv6(ip) => *ip == Ipv6Addr::LOCALHOST,
    }
}

/// The address of an IP literal; one of IPv4 mapped to IPv6 is that of IPv4.
fn address(host: &Host<&str>) -> Option<IpAddr> {
    match host {
        Host::Domain(_) => None,
        Host::Ipv4(ip) => Some(IpAddr::V4(*ip)),
        Host::Ipv6(ip) => Some(
            ip.to_ipv4_mapped()
                .map_or(IpAddr::V6(*ip), |ip: Ipv4Addr| ip.into()),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host_is(check: fn(&Host<&str>) -> bool, text: &str) -> bool {
        let url = Url::parse(&format!("http://{text}/")).unwrap();
        check(&url.host().unwrap())
    }

    #[test]
    fn private_literals_are_known_in_every_spelling() {
        for private in [
            "127.0.0.1",
            "127.255.0.1",
            "0x7f.1",
            "2130706433",
            "0.0.0.0",
            "0.1.2.3",
            "10.1.2.3",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.0.1",
            "100.64.0.1",
            "100.127.255.255",
            "169.254.169.254",
            "[::1]",
            "[::]",
            "[fc00::1]",
            "[fd12::1]",
            "[fe80::1]",
            "[::ffff:127.0.0.1]",
            "[::ffff:a00:1]",
        ] {
            assert!(host_is(is_private_literal, private), "{private}");
        }
        for public in [
            "localhost",
            "example.com",
            "8.8.8.8",
            "100.63.255.255",
            "100.128.0.1",
            "172.32.0.1",
            "[2606:4700::1]",
            "[::ffff:8.8.8.8]",
        ] {
            assert!(!host_is(is_private_literal, public), "{public}");
        }
    }

    #[test]
    fn link_local_and_metadata_literals_are_told_from_merely_private_ones() {
        for never in [
            "169.254.169.254",
            "[fe80::1]",
            "[::ffff:169.254.0.1]",
            "[fd00:ec2::254]",
        ] {
            assert!(host_is(is_link_local_literal, never), "{never}");
        }
        for maybe in ["127.0.0.1", "10.0.0.1", "[fd00::1]", "localhost"] {
            assert!(!host_is(is_link_local_literal, maybe), "{maybe}");
        }
    }

    #[test]
    fn a_url_reaches_the_listener_it_names() {
        for (url, listen, expected) in [
            ("http://127.0.0.1:8787/x", "127.0.0.1:8787", true),
            ("http://localhost:8787/x", "127.0.0.1:8787", true),
            ("http://localhost:8787/x", "[::1]:8787", true),
            ("http://[::1]:8787/x", "[::1]:8787", true),
            ("http://[::ffff:127.0.0.1]:8787/x", "127.0.0.1:8787", true),
            ("http://127.0.0.1:8787/x", "0.0.0.0:8787", true),
            ("http://0.0.0.0:8787/x", "127.0.0.1:8787", true),
            ("http://10.0.0.1:80/x", "10.0.0.1:80", true),
            ("http://10.0.0.1/x", "10.0.0.1:80", true),
            ("http://127.0.0.1:8788/x", "127.0.0.1:8787", false),
            ("http://127.0.0.2:8787/x", "127.0.0.1:8787", false),
            ("http://example.com:8787/x", "127.0.0.1:8787", false),
            ("http://10.0.0.2:8787/x", "10.0.0.1:8787", false),
        ] {
            let reached = reaches(&Url::parse(url).unwrap(), listen.parse().unwrap());
            assert_eq!(reached, expected, "{url} {listen}");
        }
    }
}
