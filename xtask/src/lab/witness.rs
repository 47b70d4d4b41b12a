//! Witnesses, who count frames and know nothing of the detector: one on the wire before its programs, one behind them.
//!
//! A packet socket with a filter in the kernel. Frames are counted, not fetched: the first one's time of arrival is all
//! that is read.

use std::io;
use std::mem::{size_of, zeroed};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::sync::Mutex;
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result};

use super::network::Mac;
use super::{Namespace, packet_socket};

/// Of the socket's buffer, bytes: only the first frame has to find room.
const BUFFER_BYTES: libc::c_int = 4096;
/// Of an Ethernet frame: where the source, and where the EtherType is.
const SOURCE: u32 = 6;
const ETHERTYPE: u32 = 12;
const IPV4: u32 = 0x0800;
const IPV6: u32 = 0x86dd;

/// Counts the IP packets of one sender on one interface.
pub struct Witness {
    socket: OwnedFd,
    counted: Mutex<u64>,
}

impl Witness {
    /// Begins to count.
    ///
    /// # Errors
    /// Where the namespace or the interface is gone, or the kernel refuses.
    pub fn new(namespace: &Namespace, interface: &str, sender: Mac) -> Result<Self> {
        let socket = namespace
            .run(|| open(interface, sender))?
            .with_context(|| format!("cannot watch {interface} in {}", namespace.name()))?;
        Ok(Self {
            socket,
            counted: Mutex::new(0),
        })
    }

    /// Packets by now.
    ///
    /// # Errors
    /// Where the kernel does not tell.
    pub fn count(&self) -> Result<u64> {
        let mut counted = self
            .counted
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        // Reading sets it to 0. It has those too that found no room.
        // SAFETY: all zeros is a value of this struct of two numbers.
        let mut new: libc::tpacket_stats = unsafe { zeroed() };
        let mut length = size_of::<libc::tpacket_stats>() as libc::socklen_t;
        // SAFETY: both live until after the call, and the length is that of the memory.
        let result = unsafe {
            libc::getsockopt(
                self.socket.as_raw_fd(),
                libc::SOL_PACKET,
                libc::PACKET_STATISTICS,
                (&raw mut new).cast(),
                &raw mut length,
            )
        };
        if result < 0 {
            return Err(io::Error::last_os_error()).context("cannot count packets");
        }
        *counted += u64::from(new.tp_packets);
        Ok(*counted)
    }

    /// When the first packet came, by the kernel's clock; `None` where none has. The packet is taken: ask once.
    ///
    /// # Errors
    /// Where the kernel does not tell.
    pub fn first(&self) -> Result<Option<SystemTime>> {
        let mut byte = [0u8; 1];
        let mut data = libc::iovec {
            iov_base: byte.as_mut_ptr().cast(),
            iov_len: byte.len(),
        };
        let mut control = [0u64; 16];
        // SAFETY: all zeros is a message header that names no memory.
        let mut message: libc::msghdr = unsafe { zeroed() };
        message.msg_iov = &raw mut data;
        message.msg_iovlen = 1;
        message.msg_control = control.as_mut_ptr().cast();
        message.msg_controllen = size_of_val(&control) as _;
        // SAFETY: what the header names lives until after the call, and is as long as told.
        let result = unsafe {
            libc::recvmsg(
                self.socket.as_raw_fd(),
                &raw mut message,
                libc::MSG_DONTWAIT,
            )
        };
        if result < 0 {
            let error = io::Error::last_os_error();
            return match error.kind() {
                io::ErrorKind::WouldBlock => Ok(None),
                _ => Err(error).context("cannot read the first packet"),
            };
        }
        // SAFETY: the kernel filled the header in; a control message lies within its buffer and is whole.
        unsafe {
            let mut header = libc::CMSG_FIRSTHDR(&raw const message);
            while !header.is_null() {
                if ((*header).cmsg_level, (*header).cmsg_type)
                    == (libc::SOL_SOCKET, libc::SCM_TIMESTAMPNS)
                {
                    let time: libc::timespec = libc::CMSG_DATA(header)
                        .cast::<libc::timespec>()
                        .read_unaligned();
                    let since = Duration::new(time.tv_sec.cast_unsigned(), time.tv_nsec as u32);
                    return Ok(Some(SystemTime::UNIX_EPOCH + since));
                }
                header = libc::CMSG_NXTHDR(&raw const message, header);
            }
        }
        anyhow::bail!("the first packet bears no time")
    }
}

/// A packet socket on an interface, that takes one sender's IP packets.
fn open(interface: &str, sender: Mac) -> io::Result<OwnedFd> {
    // It gets its filter before it receives anything.
    let socket = packet_socket::open()?;
    let mut filter = filter(sender);
    let program = libc::sock_fprog {
        len: filter.len() as u16,
        filter: filter.as_mut_ptr(),
    };
    set(&socket, libc::SO_ATTACH_FILTER, &program)?;
    set(&socket, libc::SO_RCVBUF, &BUFFER_BYTES)?;
    set(&socket, libc::SO_TIMESTAMPNS, &1)?;
    packet_socket::bind(&socket, interface, libc::ETH_P_ALL as u16)?;
    Ok(socket)
}

fn set<T>(socket: &OwnedFd, option: libc::c_int, value: &T) -> io::Result<()> {
    // SAFETY: the value, and what it names, lives until after the call and is as long as told.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            option,
            std::ptr::from_ref(value).cast(),
            size_of::<T>() as libc::socklen_t,
        )
    };
    match result {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Takes IPv4 and IPv6 from a sender, one byte of each.
fn filter(sender: Mac) -> [libc::sock_filter; 9] {
    let [a, b, c, d, e, f] = sender;
    let op = |code: u32, k: u32, jt: u8, jf: u8| libc::sock_filter {
        code: code as u16,
        jt,
        jf,
        k,
    };
    let load = |width: u32, at: u32| op(libc::BPF_LD | width | libc::BPF_ABS, at, 0, 0);
    let jump = |k: u32, jt: u8, jf: u8| op(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, k, jt, jf);
    let leave = |k: u32| op(libc::BPF_RET | libc::BPF_K, k, 0, 0);
    [
        load(libc::BPF_W, SOURCE),
        jump(u32::from_be_bytes([a, b, c, d]), 0, 6),
        load(libc::BPF_H, SOURCE + 4),
        jump(u16::from_be_bytes([e, f]).into(), 0, 4),
        load(libc::BPF_H, ETHERTYPE),
        jump(IPV4, 1, 0),
        jump(IPV6, 0, 1),
        leave(1),
        leave(0),
    ]
}
