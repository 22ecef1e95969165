//! URLs that requests are sent to, and which hosts they may name.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::time::Duration;

use url::{Host, Url};

use super::section::Section;

/// Longest URL, in bytes.
const URL_BYTES: usize = 2048;

/// Shortest and longest limit for one request.
pub(super) const TIMEOUT: RangeInclusive<Duration> =
    Duration::from_millis(1)..=Duration::from_secs(10 * 60);

/// A URL as it was written, with its key, and its file as the beginning of a message.
pub(super) struct Written<'a> {
    pub(super) key: &'a str,
    pub(super) file: &'a str,
    pub(super) text: &'a str,
    /// The section's `allow_http`.
    pub(super) allow_http: bool,
}

/// The URL: https, or http on a loopback host or with `allow_http`; without userinfo and fragment. It is never repeated:
/// it may hold a secret.
pub(super) fn url(section: &Section<'_>, written: &Written<'_>) -> Option<Url> {
    let Written {
        key, file, text, ..
    } = *written;
    let refuse = |wrong: &str, remedy: &str| {
        section.refuse(key, format!("{file}{wrong}"), remedy);
        None
    };
    let such_as = match file {
        "" => format!("for example {}", section.example(key)),
        _ => "the file holds the URL alone, without quotes".to_owned(),
    };
    if text.len() > URL_BYTES {
        let wrong = format!("a URL has at most {URL_BYTES} bytes");
        return refuse(&wrong, &such_as);
    }
    // The parser would drop or encode them.
    if text.contains(|c: char| c.is_whitespace() || c.is_control()) {
        let wrong = "a URL has no white space and no control characters";
        return refuse(wrong, &such_as);
    }
    let url = match Url::parse(text) {
        Ok(url) => url,
        Err(error) => return refuse(&format!("not a valid URL: {error}"), &such_as),
    };
    match url.scheme() {
        "https" => {}
        "http" if written.allow_http || url.host().as_ref().is_some_and(is_loopback) => {}
        "http" => {
            let remedy = format!("write https, or allow_http = true in [{}]", section.path);
            return refuse("others can read what is sent over http", &remedy);
        }
        _ => return refuse("expected a URL that starts with https://", &such_as),
    }
    if !url.username().is_empty() || url.password().is_some() {
        return refuse("a URL here has no user and no password", "leave them out");
    }
    if url.fragment().is_some() {
        return refuse("a URL here has no fragment (#…)", "leave it out");
    }
    Some(url)
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
        Host::Ipv6(ip) => Some(IpAddr::V6(*ip).to_canonical()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
