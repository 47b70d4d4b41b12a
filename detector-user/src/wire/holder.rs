//! Who holds an interface's XDP hook: asked of the kernel over rtnetlink.

use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketType, recv, send, socket};

use detector_common::config::hook;

use super::interface::Interface;

const RTM_GETLINK: u16 = 18;
const NLM_F_REQUEST: u16 = 1;
const IFLA_XDP: u16 = 43;
const IFLA_XDP_ATTACHED: u16 = 2;
const IFLA_XDP_PROG_ID: u16 = 4;
const XDP_ATTACHED_SKB: u8 = 2;
/// Length of `nlmsghdr` and of `ifinfomsg`.
const HEADER: usize = 16;
const IFINFO: usize = 16;

/// What is known of the program on an interface, for an error message; empty where
/// nothing is.
#[must_use]
pub fn describe(interface: &Interface) -> String {
    let Some(id) = program_id(interface.index) else {
        return String::new();
    };
    let name = aya::programs::loaded_programs()
        .filter_map(Result::ok)
        .find(|program| program.id() == id)
        .and_then(|program| program.name_as_str().map(str::to_owned));
    match name {
        // The kernel cuts names.
        Some(name)
            if !name.is_empty() && detector_common::abi::program::INGRESS.starts_with(&name) =>
        {
            format!(" (a detector's, by way of another pin directory; program id {id})")
        }
        Some(name) if !name.is_empty() => format!(" ({name}, program id {id})"),
        _ => format!(" (program id {id})"),
    }
}

/// Id of the XDP program on an interface.
#[must_use]
pub fn program_id(index: u32) -> Option<u32> {
    let xdp = xdp_attributes(index)?;
    let id = attribute(&xdp, IFLA_XDP_PROG_ID)?;
    Some(u32::from_ne_bytes(id.get(..4)?.try_into().ok()?))
}

/// How the XDP program on an interface hangs there: [`hook::NATIVE`] or [`hook::GENERIC`].
#[must_use]
pub fn hook(index: u32) -> Option<u8> {
    let xdp = xdp_attributes(index)?;
    match attribute(&xdp, IFLA_XDP_ATTACHED)?.first()? {
        0 => None,
        &XDP_ATTACHED_SKB => Some(hook::GENERIC),
        _ => Some(hook::NATIVE),
    }
}

/// What the kernel says of XDP on an interface.
fn xdp_attributes(index: u32) -> Option<Vec<u8>> {
    let socket = socket(AddressFamily::NETLINK, SocketType::RAW, None).ok()?;
    let mut request = [0u8; HEADER + IFINFO];
    request[0..4].copy_from_slice(&((HEADER + IFINFO) as u32).to_ne_bytes());
    request[4..6].copy_from_slice(&RTM_GETLINK.to_ne_bytes());
    request[6..8].copy_from_slice(&NLM_F_REQUEST.to_ne_bytes());
    request[HEADER + 4..HEADER + 8].copy_from_slice(&index.to_ne_bytes());
    send(&socket, &request, SendFlags::empty()).ok()?;
    let mut answer = [0u8; 32 * 1024];
    let (_, length) = recv(&socket, &mut answer[..], RecvFlags::empty()).ok()?;
    let attributes = answer.get(HEADER + IFINFO..length)?;
    attribute(attributes, IFLA_XDP).map(<[u8]>::to_vec)
}

/// The payload of the first attribute of a kind.
pub(super) fn attribute(mut bytes: &[u8], wanted: u16) -> Option<&[u8]> {
    loop {
        let length = usize::from(u16::from_ne_bytes(bytes.get(0..2)?.try_into().ok()?));
        // The upper two bits are flags (nested, byte order).
        let kind = u16::from_ne_bytes(bytes.get(2..4)?.try_into().ok()?) & 0x3fff;
        if kind == wanted {
            return bytes.get(4..length);
        }
        bytes = bytes.get(length.max(4).next_multiple_of(4)..)?;
    }
}
