//! The floor: who is never blocked unless an explicit setting takes the floor away.
//! Loopback, this host's own addresses, its gateways and resolvers, and the peer of
//! the session that starts the program: nobody is to lock himself out.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use super::target::Prefix;

/// What the floor calls this host's own addresses.
pub const THIS_HOST: &str = "this host";

/// The prefixes of the floor, each with what it is.
#[must_use]
pub fn prefixes() -> Vec<(Prefix, &'static str)> {
    let mut floor = Vec::new();
    for loopback in ["127.0.0.0/8", "::1/128"] {
        // Both are constants that a test reads.
        if let Ok(prefix) = loopback.parse() {
            floor.push((prefix, "loopback"));
        }
    }
    let mut add = |addresses: Vec<IpAddr>, what| {
        floor.extend(
            addresses
                .into_iter()
                .map(|address| (Prefix::host(address), what)),
        );
    };
    add(own_addresses(), THIS_HOST);
    add(gateways(), "gateway");
    add(
        resolvers(&fs::read_to_string("/etc/resolv.conf").unwrap_or_default()),
        "resolver",
    );
    let session = ["SSH_CONNECTION", "SSH_CLIENT"]
        .iter()
        .find_map(|name| std::env::var(name).ok());
    add(
        session
            .as_deref()
            .and_then(session_peer)
            .into_iter()
            .collect(),
        "this session",
    );
    let mut seen = std::collections::HashSet::new();
    floor.retain(|(prefix, _)| seen.insert(*prefix));
    floor
}

fn own_addresses() -> Vec<IpAddr> {
    let mut addresses = Vec::new();
    // SAFETY: the list is freed below and not used after; each address is read as its
    // family says.
    unsafe {
        let mut first = std::ptr::null_mut();
        if libc::getifaddrs(&raw mut first) != 0 {
            return addresses;
        }
        let mut entry = first;
        while !entry.is_null() {
            let address = (*entry).ifa_addr;
            if !address.is_null() {
                match i32::from((*address).sa_family) {
                    libc::AF_INET => {
                        let v4 = address.cast::<libc::sockaddr_in>().read_unaligned();
                        addresses.push(Ipv4Addr::from(v4.sin_addr.s_addr.to_ne_bytes()).into());
                    }
                    libc::AF_INET6 => {
                        let v6 = address.cast::<libc::sockaddr_in6>().read_unaligned();
                        addresses.push(Ipv6Addr::from(v6.sin6_addr.s6_addr).into());
                    }
                    _ => {}
                }
            }
            entry = (*entry).ifa_next;
        }
        libc::freeifaddrs(first);
    }
    addresses
}

/// From the kernel's tables of this thread's namespace.
fn gateways() -> Vec<IpAddr> {
    let v4 = fs::read_to_string("/proc/thread-self/net/route").unwrap_or_default();
    let v6 = fs::read_to_string("/proc/thread-self/net/ipv6_route").unwrap_or_default();
    gateways_v4(&v4).chain(gateways_v6(&v6)).collect()
}

fn gateways_v4(table: &str) -> impl Iterator<Item = IpAddr> {
    table.lines().skip(1).filter_map(|line| {
        let gateway = u32::from_str_radix(line.split_whitespace().nth(2)?, 16).ok()?;
        (gateway != 0).then(|| Ipv4Addr::from(gateway.to_ne_bytes()).into())
    })
}

fn gateways_v6(table: &str) -> impl Iterator<Item = IpAddr> {
    table.lines().filter_map(|line| {
        let next = u128::from_str_radix(line.split_whitespace().nth(4)?, 16).ok()?;
        (next != 0).then(|| Ipv6Addr::from(next).into())
    })
}

fn resolvers(configuration: &str) -> Vec<IpAddr> {
    configuration
        .lines()
        .filter_map(|line| {
            let address = line.trim().strip_prefix("nameserver")?.trim();
            address.split('%').next()?.parse().ok()
        })
        .collect()
}

fn session_peer(variable: &str) -> Option<IpAddr> {
    variable
        .split_whitespace()
        .next()?
        .split('%')
        .next()?
        .parse()
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_and_own_addresses_are_in_it() {
        let floor = prefixes();
        let covers = |ip: &str| floor.iter().any(|(p, _)| p.contains(ip.parse().unwrap()));
        assert!(covers("127.0.0.53") && covers("::1"));
    }

    #[test]
    fn system_files_are_read() {
        let table = "Iface\tDestination\tGateway \tFlags\neth0\t00000000\t0102A8C0\t0003\neth0\t0002A8C0\t00000000\t0001\n";
        assert_eq!(
            gateways_v4(table).collect::<Vec<_>>(),
            [IpAddr::from([192, 168, 2, 1])]
        );
        let table = "00000000000000000000000000000000 00 00000000000000000000000000000000 00 fe800000000000000000000000000001 00000400 00000001 00000000 00000003 eth0\n";
        assert_eq!(
            gateways_v6(table).next().unwrap(),
            "fe80::1".parse::<IpAddr>().unwrap()
        );
        let resolv =
            "# x\nnameserver 192.0.2.53\n nameserver fe80::1%eth0\nnameserver x\noptions y\n";
        assert_eq!(resolvers(resolv).len(), 2);
        assert_eq!(
            session_peer("203.0.113.9 5000 10.0.0.1 22").unwrap(),
            IpAddr::from([203, 0, 113, 9])
        );
    }
}
