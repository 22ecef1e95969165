//! Which addresses a webhook may be reached at (docs/events-and-receiving.md, "Which addresses are permitted"). Pure:
//! no name is looked up here.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::LazyLock;

use ipnet::IpNet;
use url::Host;

/// What the rules say about an address, the most permissive first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verdict {
    /// Public: permitted for every webhook.
    Allowed,
    /// Loopback, private, reserved or unspecified: only with `allow_private`.
    Private,
    /// Link-local, a cloud's metadata service, multicast or broadcast, in any spelling: never permitted, because no receiver
    /// of webhooks is there and some of them answer with credentials.
    Never,
}

impl Verdict {
    /// Whether events may be sent to such an address with this `allow_private`.
    #[must_use]
    pub fn permits(self, allow_private: bool) -> bool {
        match self {
            Self::Allowed => true,
            Self::Private => allow_private,
            Self::Never => false,
        }
    }
}

/// Blocks of addresses, separated by white space.
fn blocks(text: &str) -> Vec<IpNet> {
    let block = |block: &str| match block.parse() {
        Ok(block) => block,
        Err(_) => unreachable!("{block} is a block of addresses"),
    };
    text.split_whitespace().map(block).collect()
}

/// Link-local, multicast, broadcast, and metadata services outside the link-local range: Alibaba Cloud, Oracle Cloud and
/// Azure's host agent, which has a public address; AWS, Google Cloud, Oracle Cloud and Scaleway.
static NEVER: LazyLock<Vec<IpNet>> = LazyLock::new(|| {
    blocks(
        "169.254.0.0/16 224.0.0.0/4 255.255.255.255/32
         100.100.100.200/32 192.0.0.192/32 168.63.129.16/32
         fe80::/10 ff00::/8
         fd00:ec2::254/128 fd20:ce::254/128 fd00:c1::a9fe:a9fe/128 fd00:42::42/128",
    )
});

/// Special-purpose blocks of the IANA registry that are not global. `::/8` holds `::`, `::1`, the old IPv4 spellings and
/// local NAT64 prefixes (64:ff9b:1::/48, RFC 8215); nothing else in it is in use.
static PRIVATE: LazyLock<Vec<IpNet>> = LazyLock::new(|| {
    blocks(
        "0.0.0.0/8 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 172.16.0.0/12 192.0.0.0/24 192.0.2.0/24 192.88.99.0/24
         192.168.0.0/16 198.18.0.0/15 198.51.100.0/24 203.0.113.0/24 240.0.0.0/4
         ::/8 100::/64 2001::/23 2001:db8::/32 2002::/16 3fff::/20 5f00::/16 fc00::/7 fec0::/10",
    )
});

/// Parts of 2001::/23 that the IANA registry marks as globally reachable.
static GLOBAL: LazyLock<Vec<IpNet>> = LazyLock::new(|| {
    blocks(
        "2001:1::1/128 2001:1::2/128 2001:1::3/128 2001:3::/32 2001:4:112::/48 2001:20::/28 2001:30::/28",
    )
});

/// Judges an address.
#[must_use]
pub fn judge(ip: IpAddr) -> Verdict {
    let within = |blocks: &[IpNet]| blocks.iter().any(|block| block.contains(&ip));
    if within(&NEVER) {
        Verdict::Never
    } else if let Some(same) = other_spelling(ip) {
        judge(same.into())
    } else if within(&GLOBAL) || !within(&PRIVATE) {
        Verdict::Allowed
    } else {
        let tunnelled = tunnelled(ip).map(|v4| judge(v4.into()));
        tunnelled.map_or(Verdict::Private, |verdict| verdict.max(Verdict::Private))
    }
}

/// Judges the host of a URL when it is an address; `None` for a name, which is judged at each connection.
#[must_use]
pub fn judge_host(host: &Host<&str>) -> Option<Verdict> {
    match host {
        Host::Ipv4(ip) => Some(judge((*ip).into())),
        Host::Ipv6(ip) => Some(judge((*ip).into())),
        Host::Domain(_) => None,
    }
}

/// The IPv4 address that is written as an IPv6 address: mapped, or with the well-known NAT64 prefix (RFC 6052).
fn other_spelling(ip: IpAddr) -> Option<Ipv4Addr> {
    match segments(ip)? {
        [0, 0, 0, 0, 0, 0xffff, high, low] => Some(v4(high, low)),
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => Some(v4(high, low)),
        _ => None,
    }
}

/// The IPv4 address that a tunnel or translator would take out of a private IPv6 address.
fn tunnelled(ip: IpAddr) -> Option<Ipv4Addr> {
    match segments(ip)? {
        [0..=0xff, .., high, low] => Some(v4(high, low)),
        // Teredo: IPv4 at the end, inverted (RFC 4380).
        [0x2001, 0, .., high, low] => Some(v4(!high, !low)),
        // 6to4 (RFC 3056).
        [0x2002, high, low, ..] => Some(v4(high, low)),
        _ => None,
    }
}

fn segments(ip: IpAddr) -> Option<[u16; 8]> {
    match ip {
        IpAddr::V4(_) => None,
        IpAddr::V6(ip) => Some(ip.segments()),
    }
}

fn v4(high: u16, low: u16) -> Ipv4Addr {
    Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low))
}

#[cfg(test)]
mod tests {
    use std::net::Ipv6Addr;

    use ipnet::Ipv4Net;
    use proptest::prelude::*;
    use url::Url;

    use super::Verdict::{Allowed, Never, Private};
    use super::*;

    /// Verdict, addresses with that verdict: first and last of a block, or just outside of it.
    const ADDRESSES: &[(Verdict, &str)] = &[
        (Private, "0.0.0.0 0.255.255.255"),
        (Allowed, "1.0.0.0 9.255.255.255"),
        (Private, "10.0.0.0 10.255.255.255"),
        (Allowed, "11.0.0.0 100.63.255.255"),
        (Private, "100.64.0.0 100.127.255.255"),
        (Private, "100.100.100.199 100.100.100.201"),
        (Never, "100.100.100.200"),
        (Allowed, "100.128.0.0 126.255.255.255"),
        (Private, "127.0.0.0 127.0.0.1 127.255.255.255"),
        (Allowed, "128.0.0.0 168.63.129.15 168.63.129.17"),
        (Never, "168.63.129.16"),
        (Allowed, "169.253.255.255"),
        (Never, "169.254.0.0 169.254.169.254 169.254.255.255"),
        (Allowed, "169.255.0.0 172.15.255.255"),
        (Private, "172.16.0.0 172.31.255.255"),
        (Allowed, "172.32.0.0 191.255.255.255"),
        (Private, "192.0.0.0 192.0.0.255"),
        (Never, "192.0.0.192"),
        (Allowed, "192.0.1.0 192.0.1.255"),
        (Private, "192.0.2.0 192.0.2.255"),
        (Allowed, "192.0.3.0 192.88.98.255"),
        (Private, "192.88.99.0 192.88.99.255"),
        (Allowed, "192.88.100.0 192.167.255.255"),
        (Private, "192.168.0.0 192.168.255.255"),
        (Allowed, "192.169.0.0 198.17.255.255"),
        (Private, "198.18.0.0 198.19.255.255"),
        (Allowed, "198.20.0.0 198.51.99.255"),
        (Private, "198.51.100.0 198.51.100.255"),
        (Allowed, "198.51.101.0 203.0.112.255"),
        (Private, "203.0.113.0 203.0.113.255"),
        (Allowed, "203.0.114.0 223.255.255.255"),
        (Never, "224.0.0.0 239.255.255.255"),
        (Private, "240.0.0.0 255.255.255.254"),
        (Never, "255.255.255.255"),
        (Private, ":: ::1 ff:ffff:ffff:ffff:ffff:ffff:808:808"),
        (Private, "::8.8.8.8 ::ffff:0:127.0.0.1"),
        (Never, "::169.254.169.254 ::ffff:0:169.254.169.254"),
        (Allowed, "::ffff:8.8.8.8"),
        (Private, "::ffff:127.0.0.1 ::ffff:10.0.0.1"),
        (Never, "::ffff:169.254.169.254 ::ffff:a9fe:a9fe"),
        (Private, "100:: 100::ffff:ffff:ffff:ffff"),
        (Allowed, "100:0:0:1::"),
        (Private, "64:ff9a:ffff:ffff:ffff:ffff:808:808"),
        (Allowed, "64:ff9b::8.8.8.8"),
        (Private, "64:ff9b::0.0.0.0 64:ff9b::192.168.0.1"),
        (Never, "64:ff9b::169.254.169.254 64:ff9b::255.255.255.255"),
        (
            Private,
            "64:ff9b::1:0:0 64:ff9b:ffff:ffff:ffff:ffff:808:808",
        ),
        (Never, "64:ff9b:1::169.254.169.254"),
        (Private, "64:ff9c::"),
        (Allowed, "2000:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
        (Private, "2001::1 2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff"),
        (Never, "2001:0:0:0:0:0:5601:5601"),
        (Private, "2001:1:: 2001:1::4"),
        (Allowed, "2001:1::1 2001:1::2 2001:1::3"),
        (Private, "2001:2:: 2001:2:ffff:ffff:ffff:ffff:ffff:ffff"),
        (Allowed, "2001:3:: 2001:3:ffff:ffff:ffff:ffff:ffff:ffff"),
        (Private, "2001:4:: 2001:4:111:ffff:ffff:ffff:ffff:ffff"),
        (Allowed, "2001:4:112:: 2001:4:112:ffff:ffff:ffff:ffff:ffff"),
        (Private, "2001:4:113:: 2001:10:: 2001:1f:ffff::"),
        (Allowed, "2001:20:: 2001:2f:ffff:: 2001:30:: 2001:3f:ffff::"),
        (Private, "2001:40::"),
        (Allowed, "2001:200:: 2001:db7:ffff:ffff:ffff:ffff:ffff:ffff"),
        (Private, "2001:db8:: 2001:db8:ffff:ffff:ffff:ffff:ffff:ffff"),
        (Allowed, "2001:db9::"),
        (Private, "2002:: 2002:808:808::1 2002:7f00:1::"),
        (Never, "2002:a9fe:a9fe:: 2002:a9fe:a9fe::1"),
        (Allowed, "2003:: 2606:4700:4700::1111"),
        (Allowed, "3ffe:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
        (Private, "3fff:: 3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff"),
        (Allowed, "3fff:1000:: 5eff:ffff::"),
        (Private, "5f00:: 5f00:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
        (Allowed, "5f01:: fbff:ffff::"),
        (Private, "fc00:: fd00:ec2::253 fdff:ffff:ffff::ffff"),
        (Never, "fd00:ec2::254 fd20:ce::254"),
        (Never, "fd00:c1::a9fe:a9fe fd00:42::42"),
        (Allowed, "fe00:: fe7f:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
        (
            Never,
            "fe80:: fe80::1 febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
        ),
        (Private, "fec0:: feff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
        (
            Never,
            "ff00:: ff02::1 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
        ),
    ];

    #[test]
    fn every_block_begins_and_ends_where_the_rules_say() {
        for (verdict, addresses) in ADDRESSES {
            for address in addresses.split(' ') {
                assert_eq!(judge(address.parse().unwrap()), *verdict, "{address}");
            }
        }
    }

    #[test]
    fn a_url_cannot_hide_an_address_behind_its_spelling() {
        let hosts: [(&str, Option<Verdict>); 19] = [
            ("127.0.0.1", Some(Private)),
            ("0x7f.1", Some(Private)),
            ("0x7f000001", Some(Private)),
            ("0177.0.0.1", Some(Private)),
            ("017700000001", Some(Private)),
            ("2130706433", Some(Private)),
            ("127.1", Some(Private)),
            ("127.0.0.1.", Some(Private)),
            ("%31%32%37.0.0.1", Some(Private)),
            ("①②⑦.0.0.1", Some(Private)),
            ("0", Some(Private)),
            ("[::1]", Some(Private)),
            ("[::ffff:127.0.0.1]", Some(Private)),
            ("[0:0:0:0:0:ffff:7f00:1]", Some(Private)),
            ("0xa9fea9fe", Some(Never)),
            ("2852039166", Some(Never)),
            ("[::ffff:169.254.169.254]", Some(Never)),
            ("134744072", Some(Allowed)),
            ("localhost", None),
        ];
        for (host, verdict) in hosts {
            let url = Url::parse(&format!("https://{host}/hook")).unwrap();
            assert_eq!(judge_host(&url.host().unwrap()), verdict, "{host}");
        }
    }

    #[test]
    fn allow_private_never_reaches_link_local() {
        assert!(Allowed.permits(false) && Allowed.permits(true));
        assert!(!Private.permits(false) && Private.permits(true));
        assert!(!Never.permits(false) && !Never.permits(true));
    }

    fn v4_nets(nets: &[IpNet]) -> impl Iterator<Item = Ipv4Net> {
        nets.iter().filter_map(|net| match net {
            IpNet::V4(net) => Some(*net),
            IpNet::V6(_) => None,
        })
    }

    /// An address of any block, those with rules among them more often than chance would have it.
    fn v4() -> impl Strategy<Value = Ipv4Addr> {
        let nets = v4_nets(&NEVER).chain(v4_nets(&PRIVATE)).collect::<Vec<_>>();
        let near = (prop::sample::select(nets), any::<u32>(), -1_i64..=1);
        let near = near.prop_map(|(net, random, edge)| {
            let size = 1_u64 << (32 - net.prefix_len());
            let first = u64::from(net.network().to_bits());
            let inside = first + u64::from(random) % size;
            let at = match edge {
                -1 => first.saturating_sub(1),
                0 => inside,
                _ => (first + size).min(u64::from(u32::MAX)),
            };
            Ipv4Addr::from_bits(u32::try_from(at).unwrap())
        });
        prop_oneof![near, any::<u32>().prop_map(Ipv4Addr::from_bits)]
    }

    /// The verdict by comparing numbers, not bits.
    fn by_range(ip: Ipv4Addr) -> Verdict {
        let within = |nets: &[IpNet]| {
            v4_nets(nets).any(|net| {
                let (first, ip) = (u64::from(net.network().to_bits()), u64::from(ip.to_bits()));
                (first..first + (1 << (32 - net.prefix_len()))).contains(&ip)
            })
        };
        match (within(&NEVER), within(&PRIVATE)) {
            (true, _) => Never,
            (false, true) => Private,
            (false, false) => Allowed,
        }
    }

    proptest! {
        #[test]
        fn an_ipv4_address_is_judged_alike_in_every_spelling(ip in v4()) {
            let verdict = judge(IpAddr::V4(ip));
            prop_assert_eq!(verdict, by_range(ip));
            let [a, b, c, d] = ip.octets();
            let number = ip.to_bits();
            for host in [
                format!("{ip}"),
                format!("{number}"),
                format!("0x{number:x}"),
                format!("{a}.{}", number & 0x00ff_ffff),
                format!("{a}.{b}.{}", number & 0xffff),
                format!("0{a:o}.0x{b:x}.{c}.{d}."),
                format!("[::ffff:{ip}]"),
                format!("[64:ff9b::{ip}]"),
            ] {
                let url = Url::parse(&format!("https://{host}/")).unwrap();
                prop_assert_eq!(judge_host(&url.host().unwrap()), Some(verdict), "{}", host);
            }
            // Behind a tunnel it is at least private, and what is never permitted stays so.
            let [high, low] = [u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])];
            for tunnelled in [
                Ipv6Addr::new(0x2002, high, low, 0, 0, 0, 0, 1),
                Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, !high, !low),
                Ipv6Addr::new(0x64, 0xff9b, 1, 0, 0, 0, high, low),
                Ipv6Addr::new(0, 0, 0, 0, 0, 0, high, low),
            ] {
                let there = judge(IpAddr::V6(tunnelled));
                prop_assert_eq!(there, verdict.max(Private), "{}", tunnelled);
            }
        }
    }
}
