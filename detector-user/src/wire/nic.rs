//! What an interface's driver is, and what it says of itself.

use std::{
    io,
    os::fd::{AsRawFd as _, OwnedFd},
};

use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketType, netlink, recv, send, socket};

use super::holder::attribute;

const ETHTOOL_GDRVINFO: u32 = 3;
const DRIVER_BYTES: usize = 32;

const NLMSG_ERROR: u16 = 2;
const NLM_F_REQUEST: u16 = 1;
/// Length of `nlmsghdr` and of `genlmsghdr`.
const NETLINK_HEADER: usize = 16;
const GENERIC_HEADER: usize = 4;
const GENL_ID_CTRL: u16 = 16;
const CTRL_CMD_GETFAMILY: u8 = 3;
const CTRL_ATTR_FAMILY_ID: u16 = 1;
const CTRL_ATTR_FAMILY_NAME: u16 = 2;
const NETDEV_CMD_DEV_GET: u8 = 1;
const NETDEV_A_DEV_IFINDEX: u16 = 1;
const NETDEV_A_DEV_XDP_FEATURES: u16 = 3;

/// Drivers whose native XDP is in Linux 6.1, for kernels that cannot be asked.
const NATIVE_DRIVERS: [&str; 30] = [
    "atlantic",
    "bnxt_en",
    "bonding",
    "dpaa2-eth",
    "ena",
    "enetc",
    "fsl_dpa",
    "funeth",
    "gve",
    "hv_netvsc",
    "i40e",
    "ice",
    "igb",
    "igc",
    "ixgbe",
    "ixgbevf",
    "lan966x",
    "mana",
    "mlx4_en",
    "mlx5_core",
    "mvneta",
    "mvpp2",
    "nfp",
    "qede",
    "sfc",
    "stmmaceth",
    "tsnep",
    "tun",
    "veth",
    "virtio_net",
];

/// What a driver can do with XDP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct XdpSupport {
    /// Programs run in the driver.
    pub native: bool,
    /// Frames may have several buffers: jumbo frames, and large receive offload.
    pub multi_buffer: bool,
}

/// The name of an interface's driver; `None` where it has none (the loopback).
#[must_use]
pub fn driver(name: &str) -> Option<String> {
    /// `struct ethtool_drvinfo`.
    #[repr(C)]
    struct DriverInfo {
        command: u32,
        driver: [u8; DRIVER_BYTES],
        rest: [u8; 4 * 32 + 12 + 5 * 4],
    }
    let mut info = DriverInfo {
        command: ETHTOOL_GDRVINFO,
        driver: [0; DRIVER_BYTES],
        rest: [0; 4 * 32 + 12 + 5 * 4],
    };
    request(name, libc::SIOCETHTOOL as libc::Ioctl, |request| {
        request.ifr_ifru.ifru_data = (&raw mut info).cast();
    })
    .ok()?;
    let end = info
        .driver
        .iter()
        .position(|b| *b == 0)
        .unwrap_or(DRIVER_BYTES);
    String::from_utf8(info.driver[..end].to_vec())
        .ok()
        .filter(|driver| !driver.is_empty())
}

/// The largest packet that an interface sends, bytes.
#[must_use]
pub fn mtu(name: &str) -> Option<u32> {
    let request = request(name, libc::SIOCGIFMTU as libc::Ioctl, |_| {}).ok()?;
    // SAFETY: the kernel wrote this member.
    u32::try_from(unsafe { request.ifr_ifru.ifru_mtu }).ok()
}

fn request(
    name: &str,
    operation: libc::Ioctl,
    fill: impl FnOnce(&mut libc::ifreq),
) -> io::Result<libc::ifreq> {
    let socket = socket(AddressFamily::INET, SocketType::DGRAM, None)?;
    // SAFETY: plain old data, for which zeros are valid.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request
        .ifr_name
        .iter_mut()
        .take(libc::IFNAMSIZ - 1)
        .zip(name.bytes())
    {
        *to = from.cast_signed();
    }
    fill(&mut request);
    // SAFETY: the request, and what the caller made it point to, outlive the call.
    if unsafe { libc::ioctl(socket.as_raw_fd(), operation, &raw mut request) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(request)
}

/// What the driver says that it can do (Linux 6.3 and later); `None` where the kernel
/// cannot be asked.
#[must_use]
pub fn xdp_support(index: u32) -> Option<XdpSupport> {
    const BASIC: u64 = 1;
    const RX_SG: u64 = 1 << 5;
    let socket = socket(
        AddressFamily::NETLINK,
        SocketType::RAW,
        Some(netlink::GENERIC),
    )
    .ok()?;
    let name = b"netdev\0";
    let family = ask(
        &socket,
        GENL_ID_CTRL,
        CTRL_CMD_GETFAMILY,
        CTRL_ATTR_FAMILY_NAME,
        name,
    )
    .ok()?;
    let family = attribute(&family, CTRL_ATTR_FAMILY_ID)?
        .get(..2)?
        .try_into()
        .ok()?;
    let family = u16::from_ne_bytes(family);
    let index = index.to_ne_bytes();
    let answer = ask(
        &socket,
        family,
        NETDEV_CMD_DEV_GET,
        NETDEV_A_DEV_IFINDEX,
        &index,
    )
    .ok()?;
    let features = attribute(&answer, NETDEV_A_DEV_XDP_FEATURES)?
        .get(..8)?
        .try_into()
        .ok()?;
    let features = u64::from_ne_bytes(features);
    Some(XdpSupport {
        native: features & BASIC != 0,
        multi_buffer: features & RX_SG != 0,
    })
}

/// Whether a driver is known to run XDP programs.
#[must_use]
pub fn is_known_native(driver: &str) -> bool {
    NATIVE_DRIVERS.contains(&driver)
}

/// One generic netlink request with one attribute; the attributes of its answer.
fn ask(socket: &OwnedFd, family: u16, command: u8, kind: u16, value: &[u8]) -> io::Result<Vec<u8>> {
    let attribute_bytes = 4 + value.len();
    let length = NETLINK_HEADER + GENERIC_HEADER + attribute_bytes.next_multiple_of(4);
    let mut request = vec![0u8; length];
    request[0..4].copy_from_slice(&(length as u32).to_ne_bytes());
    request[4..6].copy_from_slice(&family.to_ne_bytes());
    request[6..8].copy_from_slice(&NLM_F_REQUEST.to_ne_bytes());
    request[16] = command;
    request[17] = 1;
    request[20..22].copy_from_slice(&(attribute_bytes as u16).to_ne_bytes());
    request[22..24].copy_from_slice(&kind.to_ne_bytes());
    request[24..24 + value.len()].copy_from_slice(value);
    send(socket, &request, SendFlags::empty())?;
    let mut answer = vec![0u8; 16 * 1024];
    let (_, length) = recv(socket, &mut answer[..], RecvFlags::empty())?;
    let absurd = || io::Error::from(io::ErrorKind::InvalidData);
    let kind = answer
        .get(4..6)
        .and_then(|b| b.try_into().ok())
        .ok_or_else(absurd)?;
    if length < NETLINK_HEADER + GENERIC_HEADER || u16::from_ne_bytes(kind) == NLMSG_ERROR {
        return Err(absurd());
    }
    answer.truncate(length);
    Ok(answer.split_off(NETLINK_HEADER + GENERIC_HEADER))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::interface::Interface;

    #[test]
    fn the_loopback_says_what_it_is() {
        let lo = Interface::find("lo").unwrap();
        assert_eq!(mtu("lo"), Some(65_536));
        assert_eq!(driver("lo"), None);
        // Before Linux 6.3 nobody can be asked.
        if let Some(support) = xdp_support(lo.index) {
            assert!(!support.native && !support.multi_buffer);
        }
        assert_eq!(mtu("nosuch0"), None);
        assert!(is_known_native("veth") && !is_known_native("e1000e"));
    }
}
