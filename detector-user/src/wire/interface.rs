//! Network interfaces, as the system lists them.

use std::{
    ffi::CStr,
    io,
    os::fd::{AsRawFd as _, OwnedFd},
};

use rustix::net::{AddressFamily, SocketType, netdevice::name_to_index, socket};

use detector_common::config::INTERFACE_NAME_BYTES;

/// `ARPHRD_` types whose frames begin with an Ethernet header.
const ETHERNET_TYPES: [u16; 2] = [1, 772];

/// An interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Name.
    pub name: String,
    /// Index.
    pub index: u32,
    /// Whether its frames begin with an Ethernet header.
    pub ethernet: bool,
}

/// An interface cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum InterfaceError {
    /// None of that name.
    #[error("{name}: no such interface; there are: {}", .present.join(", "))]
    Unknown {
        /// As asked for.
        name: String,
        /// What there is.
        present: Vec<String>,
    },
    /// A name that no interface can have.
    #[error("{name:?}: no interface can have this name: 1 to 15 bytes, no slash and no blank")]
    Name {
        /// As asked for.
        name: String,
    },
}

impl Interface {
    /// The interface called `name`.
    ///
    /// # Errors
    /// Where there is none, or can be none.
    pub fn find(name: &str) -> Result<Self, InterfaceError> {
        let absurd = name.is_empty()
            || name.len() >= INTERFACE_NAME_BYTES
            || name == "."
            || name == ".."
            || name.contains(|c: char| c == '/' || c.is_whitespace() || c.is_control());
        if absurd {
            return Err(InterfaceError::Name {
                name: name.to_owned(),
            });
        }
        read(name).map_err(|_| InterfaceError::Unknown {
            name: name.to_owned(),
            present: list().into_iter().map(|interface| interface.name).collect(),
        })
    }

    /// The name in the shape that maps hold.
    #[must_use]
    pub fn name_bytes(&self) -> [u8; INTERFACE_NAME_BYTES] {
        let mut bytes = [0; INTERFACE_NAME_BYTES];
        let length = self.name.len().min(INTERFACE_NAME_BYTES - 1);
        bytes[..length].copy_from_slice(&self.name.as_bytes()[..length]);
        bytes
    }
}

/// All interfaces of this network namespace, by index.
///
/// Asked of the kernel and not of `/sys/class/net`, which shows the namespace that it
/// was mounted in.
#[must_use]
pub fn list() -> Vec<Interface> {
    let mut interfaces = Vec::new();
    // SAFETY: the list is freed below and not used after; it ends with an entry of index 0.
    unsafe {
        let first = libc::if_nameindex();
        let mut entry = first;
        while !entry.is_null() && (*entry).if_index != 0 {
            if let Ok(name) = CStr::from_ptr((*entry).if_name).to_str()
                && let Ok(interface) = read(name)
            {
                interfaces.push(interface);
            }
            entry = entry.add(1);
        }
        if !first.is_null() {
            libc::if_freenameindex(first);
        }
    }
    interfaces.sort_by_key(|interface| interface.index);
    interfaces
}

fn read(name: &str) -> io::Result<Interface> {
    let socket = socket(AddressFamily::INET, SocketType::DGRAM, None)?;
    let index = name_to_index(&socket, name)?;
    Ok(Interface {
        name: name.to_owned(),
        index,
        ethernet: is_ethernet(&socket, name)?,
    })
}

fn is_ethernet(socket: &OwnedFd, name: &str) -> io::Result<bool> {
    // SAFETY: plain old data; the kernel fills the hardware address in.
    let kind = unsafe {
        let mut request: libc::ifreq = std::mem::zeroed();
        for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
            *to = from.cast_signed();
        }
        if libc::ioctl(socket.as_raw_fd(), libc::SIOCGIFHWADDR, &raw mut request) != 0 {
            return Err(io::Error::last_os_error());
        }
        request.ifr_ifru.ifru_hwaddr.sa_family
    };
    Ok(ETHERNET_TYPES.contains(&kind))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_there() {
        let lo = Interface::find("lo").unwrap();
        assert!(lo.ethernet && lo.index > 0);
        assert!(list().contains(&lo));
    }

    #[test]
    fn absurd_names_are_refused() {
        for name in ["", "..", "a/b", "a b", "sixteen-bytes-xx", "a\n"] {
            assert!(
                matches!(Interface::find(name), Err(InterfaceError::Name { .. })),
                "{name:?}"
            );
        }
        let error = Interface::find("nosuch0").unwrap_err().to_string();
        assert!(error.contains("nosuch0") && error.contains("lo"), "{error}");
    }
}
