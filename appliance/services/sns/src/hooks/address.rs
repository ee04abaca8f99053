//! Where messages may be sent: which addresses a web hook must not have.
//!
//! Invariant: nothing goes to a link-local, metadata, unspecified, multicast or broadcast address, in whichever form of
//! IPv6 an IPv4 address is dressed, nor to a port at which this appliance itself listens.
//! Leaves to resolve.rs: finding the addresses of a name, all of which are checked here, and to post.rs: connecting to the
//! very address that was checked, so that a name that changes its mind gains nothing.
//!
//! Loopback and private networks are allowed: the users of one machine and of one site are served there.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

/// Addresses at which the appliance listens.
#[derive(Clone, Debug, Default)]
pub struct Listeners {
    addresses: Vec<SocketAddr>,
}

/// Why an address is refused, for the final failure's text.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refused {
    /// Link-local, metadata, or no address of one machine.
    Kind,
    /// A listener of this appliance.
    Own,
}

impl Refused {
    /// In words.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Refused::Kind => {
                "the endpoint's address is link-local, a metadata service, or not that of one machine"
            }
            Refused::Own => "the endpoint is a listener of this appliance",
        }
    }
}

impl Listeners {
    /// These listeners.
    #[must_use]
    pub fn new(addresses: Vec<SocketAddr>) -> Listeners {
        Listeners { addresses }
    }

    /// Whether a message may go to this address.
    pub fn check(&self, target: SocketAddr) -> Result<(), Refused> {
        let ip = plain(target.ip());
        if is_forbidden(ip) {
            return Err(Refused::Kind);
        }
        if self.addresses.iter().any(|listener| listener.port() == target.port() && reaches(*listener, ip)) {
            return Err(Refused::Own);
        }
        Ok(())
    }
}

/// Whether a connection to `ip`, at the listener's port, arrives at the listener.
fn reaches(listener: SocketAddr, ip: IpAddr) -> bool {
    let bound = plain(listener.ip());
    // A listener at an address of this machine is reached by that address. One at all addresses is reached by each; and
    // whether an address is one of this machine's is the kernel's knowledge.
    bound == ip || (bound.is_unspecified() && is_of_this_machine(ip))
}

/// Whether the kernel would send a packet for `ip` from `ip` itself. Nothing is sent.
fn is_of_this_machine(ip: IpAddr) -> bool {
    if ip.is_loopback() {
        return true;
    }
    let any: IpAddr = if ip.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let source = UdpSocket::bind((any, 0)).and_then(|socket| {
        socket.connect((ip, DISCARD_PORT))?;
        socket.local_addr()
    });
    source.is_ok_and(|source| source.ip() == ip)
}

/// A connected datagram socket needs a port; nothing is ever sent to it.
const DISCARD_PORT: u16 = 9;

fn is_forbidden(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => is_forbidden_v4(ip),
        IpAddr::V6(ip) => is_forbidden_v6(ip),
    }
}

/// Addresses at which clouds answer questions about the machine, apart from those in 169.254.0.0/16.
const METADATA_V4: [Ipv4Addr; 3] = [
    // Alibaba Cloud.
    Ipv4Addr::new(100, 100, 100, 200),
    // Azure.
    Ipv4Addr::new(168, 63, 129, 16),
    // Oracle Cloud, older machines.
    Ipv4Addr::new(192, 0, 0, 192),
];

fn is_forbidden_v4(ip: Ipv4Addr) -> bool {
    let this_network = ip.octets()[0] == 0;
    // 240.0.0.0/4 and the broadcast address at its end: nobody's.
    let reserved = ip.octets()[0] >= 240;
    ip.is_link_local() || ip.is_multicast() || this_network || reserved || METADATA_V4.contains(&ip)
}

fn is_forbidden_v6(ip: Ipv6Addr) -> bool {
    let segments = ip.segments();
    // fd00:ec2::/32 is where AWS's machines find metadata, time and names; fd20:ce::/32 is Google's.
    let metadata = matches!(segments[..2], [0xfd00, 0x0ec2] | [0xfd20, 0x00ce]);
    // fec0::/10, the former site-local addresses, were routed by nobody's rules.
    let site_local = segments[0] & 0xffc0 == 0xfec0;
    ip.is_unspecified() || ip.is_multicast() || ip.is_unicast_link_local() || site_local || metadata
}

/// The IPv4 address that an IPv6 address stands for, where it does so: mapped, compatible, behind NAT64 or 6to4.
fn plain(ip: IpAddr) -> IpAddr {
    let IpAddr::V6(ip) = ip else { return ip };
    let [a, b, c, d, e, f, high, low] = ip.segments();
    let embedded = match [a, b, c, d, e, f] {
        // ::ffff:a.b.c.d (RFC 4291, 2.5.5.2) and ::ffff:0:a.b.c.d (RFC 2765).
        [0, 0, 0, 0, 0, 0xffff] | [0, 0, 0, 0, 0xffff, 0] => (high, low),
        // ::a.b.c.d (RFC 4291, 2.5.5.1); :: and ::1 are addresses of their own.
        [0, 0, 0, 0, 0, 0] if high != 0 => (high, low),
        // 64:ff9b::/96 (RFC 6052) and 64:ff9b:1::/48 (RFC 8215), of which the last bits are the address.
        [0x64, 0xff9b, 0, 0, 0, 0] | [0x64, 0xff9b, 1, ..] => (high, low),
        // 2002:a.b.c.d::/48 (RFC 3056).
        [0x2002, ..] => (b, c),
        _ => return ip.into(),
    };
    Ipv4Addr::from((u32::from(embedded.0) << 16) | u32::from(embedded.1)).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(listeners: &[&str], target: &str) -> Result<(), Refused> {
        let addresses = listeners.iter().map(|text| text.parse().expect("an address")).collect();
        Listeners::new(addresses).check(target.parse().expect("an address"))
    }

    #[test]
    fn link_local_and_metadata_addresses_are_refused_in_every_dress() {
        for ip in [
            "169.254.169.254",
            "169.254.0.1",
            "100.100.100.200",
            "168.63.129.16",
            "192.0.0.192",
            "0.0.0.0",
            "0.1.2.3",
            "255.255.255.255",
            "240.0.0.1",
            "224.0.0.1",
            "[::]",
            "[fe80::1]",
            "[febf::1]",
            "[fec0::1]",
            "[ff02::1]",
            "[fd00:ec2::254]",
            "[fd00:ec2::23]",
            "[fd20:ce::254]",
            "[::ffff:169.254.169.254]",
            "[::ffff:0:169.254.169.254]",
            "[::169.254.169.254]",
            "[64:ff9b::169.254.169.254]",
            "[64:ff9b:1::100.100.100.200]",
            "[2002:a9fe:a9fe::1]",
            "[::ffff:0.0.0.0]",
        ] {
            assert_eq!(verdict(&[], &format!("{ip}:80")), Err(Refused::Kind), "{ip}");
        }
    }

    #[test]
    fn public_private_and_loopback_addresses_are_allowed() {
        for ip in ["8.8.8.8", "10.1.2.3", "192.168.0.1", "127.0.0.1", "[::1]", "[fd12::1]", "[2001:db8::1]"] {
            assert_eq!(verdict(&["0.0.0.0:9000"], &format!("{ip}:80")), Ok(()), "{ip}");
        }
    }

    #[test]
    fn a_listener_is_refused_under_each_of_its_addresses_and_other_ports_are_not() {
        for target in ["127.0.0.1:9000", "127.8.8.8:9000", "[::1]:9000", "[::ffff:127.0.0.1]:9000"] {
            for listener in ["0.0.0.0:9000", "[::]:9000"] {
                assert_eq!(verdict(&[listener], target), Err(Refused::Own), "{listener} {target}");
            }
        }
        assert_eq!(verdict(&["127.0.0.1:9000"], "[::ffff:127.0.0.1]:9000"), Err(Refused::Own));
        assert_eq!(verdict(&["127.0.0.1:9000"], "127.0.0.1:9001"), Ok(()));
        assert_eq!(verdict(&["127.0.0.1:9000"], "127.0.0.2:9000"), Ok(()));
        assert_eq!(verdict(&["0.0.0.0:9000"], "192.0.2.1:9000"), Ok(()), "another machine's port");
    }

    #[test]
    fn a_listener_at_all_addresses_is_refused_under_the_machines_own() {
        // The address from which this machine would send to the outside, if it has a route there.
        let socket = UdpSocket::bind("0.0.0.0:0").expect("binds");
        let Ok(own) = socket.connect("192.0.2.1:9").and_then(|()| socket.local_addr()) else { return };
        let target = SocketAddr::new(own.ip(), 9000);
        assert_eq!(verdict(&["0.0.0.0:9000"], &target.to_string()), Err(Refused::Own));
    }
}
