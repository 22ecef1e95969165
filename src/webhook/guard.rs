//! Which addresses a webhook may be reached at (docs/events-and-receiving.md, "Which addresses are permitted"). Pure:
//! no name is looked up here.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use url::Host;

/// What the rules say of an address, mildest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verdict {
    /// Public: any webhook may be there.
    Allowed,
    /// Loopback, private, reserved or unspecified: only with `allow_private`.
    Private,
    /// Link-local, a cloud's metadata service, multicast or broadcast, however it is spelled: never, because nothing that
    /// takes webhooks lives there and the answers of some of them are credentials.
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

type Net4 = (Ipv4Addr, u32);
type Net6 = (Ipv6Addr, u32);

/// Link-local, multicast, broadcast, and metadata services outside the link-local range.
const NEVER_V4: [Net4; 6] = [
    (Ipv4Addr::new(169, 254, 0, 0), 16),
    (Ipv4Addr::new(224, 0, 0, 0), 4),
    (Ipv4Addr::BROADCAST, 32),
    // Alibaba Cloud, Oracle Cloud, and Azure's host agent, which sits at a public address.
    (Ipv4Addr::new(100, 100, 100, 200), 32),
    (Ipv4Addr::new(192, 0, 0, 192), 32),
    (Ipv4Addr::new(168, 63, 129, 16), 32),
];

/// Special-purpose blocks of the IANA registry that are not global.
const PRIVATE_V4: [Net4; 13] = [
    (Ipv4Addr::new(0, 0, 0, 0), 8),
    (Ipv4Addr::new(10, 0, 0, 0), 8),
    (Ipv4Addr::new(100, 64, 0, 0), 10),
    (Ipv4Addr::new(127, 0, 0, 0), 8),
    (Ipv4Addr::new(172, 16, 0, 0), 12),
    (Ipv4Addr::new(192, 0, 0, 0), 24),
    (Ipv4Addr::new(192, 0, 2, 0), 24),
    (Ipv4Addr::new(192, 88, 99, 0), 24),
    (Ipv4Addr::new(192, 168, 0, 0), 16),
    (Ipv4Addr::new(198, 18, 0, 0), 15),
    (Ipv4Addr::new(198, 51, 100, 0), 24),
    (Ipv4Addr::new(203, 0, 113, 0), 24),
    (Ipv4Addr::new(240, 0, 0, 0), 4),
];

/// Link-local, multicast, and the metadata services of AWS, Google Cloud, Oracle Cloud and Scaleway.
const NEVER_V6: [Net6; 6] = [
    (Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0), 10),
    (Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0), 8),
    (Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254), 128),
    (Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254), 128),
    (Ipv6Addr::new(0xfd00, 0xc1, 0, 0, 0, 0, 0xa9fe, 0xa9fe), 128),
    (Ipv6Addr::new(0xfd00, 0x42, 0, 0, 0, 0, 0, 0x42), 128),
];

/// The well-known NAT64 prefix: the address means the IPv4 address at its end (RFC 6052).
const NAT64: Net6 = (Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, 0, 0), 96);

/// Parts of 2001::/23 that the IANA registry marks as globally reachable.
const GLOBAL_V6: [Net6; 7] = [
    (Ipv6Addr::new(0x2001, 1, 0, 0, 0, 0, 0, 1), 128),
    (Ipv6Addr::new(0x2001, 1, 0, 0, 0, 0, 0, 2), 128),
    (Ipv6Addr::new(0x2001, 1, 0, 0, 0, 0, 0, 3), 128),
    (Ipv6Addr::new(0x2001, 3, 0, 0, 0, 0, 0, 0), 32),
    (Ipv6Addr::new(0x2001, 4, 0x112, 0, 0, 0, 0, 0), 48),
    (Ipv6Addr::new(0x2001, 0x20, 0, 0, 0, 0, 0, 0), 28),
    (Ipv6Addr::new(0x2001, 0x30, 0, 0, 0, 0, 0, 0), 28),
];

/// `::`, `::1`, the old IPv4 spellings and NAT64 prefixes of one's own (64:ff9b:1::/48, RFC 8215). What stands at the end
/// is judged as an IPv4 address throughout: nothing else in this block is in use.
const LOW_V6: Net6 = (Ipv6Addr::UNSPECIFIED, 8);
/// Teredo: IPv4 at the end, inverted (RFC 4380).
const TEREDO: Net6 = (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 32);
/// 6to4: IPv4 after the first 16 bits (RFC 3056).
const SIX_TO_FOUR: Net6 = (Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16);

const PRIVATE_V6: [Net6; 9] = [
    LOW_V6,
    (Ipv6Addr::new(0x100, 0, 0, 0, 0, 0, 0, 0), 64),
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23),
    (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32),
    SIX_TO_FOUR,
    (Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20),
    (Ipv6Addr::new(0x5f00, 0, 0, 0, 0, 0, 0, 0), 16),
    (Ipv6Addr::new(0xfc00, 0, 0, 0, 0, 0, 0, 0), 7),
    (Ipv6Addr::new(0xfec0, 0, 0, 0, 0, 0, 0, 0), 10),
];

/// Judges an address.
#[must_use]
pub fn judge(ip: IpAddr) -> Verdict {
    match ip {
        IpAddr::V4(ip) => judge_v4(ip),
        IpAddr::V6(ip) => judge_v6(ip),
    }
}

/// Judges the host of a URL when it is an address; `None` for a name, which is judged at each connection.
#[must_use]
pub fn judge_host(host: &Host<&str>) -> Option<Verdict> {
    match host {
        Host::Ipv4(ip) => Some(judge_v4(*ip)),
        Host::Ipv6(ip) => Some(judge_v6(*ip)),
        Host::Domain(_) => None,
    }
}

fn judge_v4(ip: Ipv4Addr) -> Verdict {
    let within = |nets: &[Net4]| nets.iter().any(|net| holds_v4(*net, ip));
    if within(&NEVER_V4) {
        Verdict::Never
    } else if within(&PRIVATE_V4) {
        Verdict::Private
    } else {
        Verdict::Allowed
    }
}

fn judge_v6(ip: Ipv6Addr) -> Verdict {
    let within = |nets: &[Net6]| nets.iter().any(|net| holds_v6(*net, ip));
    if within(&NEVER_V6) {
        Verdict::Never
    } else if let Some(mapped) = ip.to_ipv4_mapped() {
        judge_v4(mapped)
    } else if holds_v6(NAT64, ip) {
        judge_v4(low_half(ip))
    } else if within(&GLOBAL_V6) {
        Verdict::Allowed
    } else if within(&PRIVATE_V6) {
        embedded_v4(ip).map_or(Verdict::Private, |v4| judge_v4(v4).max(Verdict::Private))
    } else {
        Verdict::Allowed
    }
}

/// The IPv4 address that a tunnel or translator would take out of a private IPv6 address.
fn embedded_v4(ip: Ipv6Addr) -> Option<Ipv4Addr> {
    if holds_v6(LOW_V6, ip) {
        Some(low_half(ip))
    } else if holds_v6(TEREDO, ip) {
        Some(Ipv4Addr::from_bits(!low_half(ip).to_bits()))
    } else if holds_v6(SIX_TO_FOUR, ip) {
        let [_, _, a, b, c, d, ..] = ip.octets();
        Some(Ipv4Addr::new(a, b, c, d))
    } else {
        None
    }
}

/// The last 32 bits.
fn low_half(ip: Ipv6Addr) -> Ipv4Addr {
    let [.., a, b, c, d] = ip.octets();
    Ipv4Addr::new(a, b, c, d)
}

/// Whether the block holds the address. Prefixes are 1 to 32 bits long.
fn holds_v4((net, prefix): Net4, ip: Ipv4Addr) -> bool {
    (net.to_bits() ^ ip.to_bits()) >> (32 - prefix) == 0
}

/// Whether the block holds the address. Prefixes are 1 to 128 bits long.
fn holds_v6((net, prefix): Net6, ip: Ipv6Addr) -> bool {
    (net.to_bits() ^ ip.to_bits()) >> (128 - prefix) == 0
}

#[cfg(test)]
mod tests {
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

    /// An address of any block, those with rules among them more often than chance would have it.
    fn v4() -> impl Strategy<Value = Ipv4Addr> {
        let nets: Vec<Net4> = NEVER_V4.into_iter().chain(PRIVATE_V4).collect();
        let near = (prop::sample::select(nets), any::<u32>(), -1_i64..=1);
        let near = near.prop_map(|((net, prefix), random, edge)| {
            let size = 1_u64 << (32 - prefix);
            let first = u64::from(net.to_bits());
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
        let within = |nets: &[Net4]| {
            nets.iter().any(|(net, prefix)| {
                let (first, ip) = (u64::from(net.to_bits()), u64::from(ip.to_bits()));
                (first..first + (1 << (32 - prefix))).contains(&ip)
            })
        };
        match (within(&NEVER_V4), within(&PRIVATE_V4)) {
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
