//! Frames as they are: packet sockets.

use std::{
    io,
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
    time::Duration,
};

/// A packet socket on one interface.
pub struct Raw {
    socket: OwnedFd,
    index: u32,
}

/// `PACKET_VNET_HDR` of linux/if_packet.h.
const PACKET_VNET_HDR: i32 = 15;

/// Frames that one system call sends.
const BATCH: usize = 64;

impl Raw {
    /// On the interface called `name` of this thread's namespace. It sends past the queueing
    /// discipline, by the queue of the CPU that it runs on, and receives nothing.
    pub fn sender(name: &str) -> Self {
        let raw = Self::open(name, 0);
        raw.option(libc::SOL_PACKET, libc::PACKET_QDISC_BYPASS, 1);
        raw
    }

    /// One that sends as any socket does: through the queueing discipline, and before it
    /// through what hangs at TC egress.
    pub fn sender_by_the_queue(name: &str) -> Self {
        Self::open(name, 0)
    }

    /// One that sends as a virtual machine's network card does: each frame behind a header
    /// that says how it is to be cut.
    pub fn of_a_virtual_machine(name: &str) -> Self {
        let raw = Self::open(name, 0);
        raw.option(libc::SOL_PACKET, PACKET_VNET_HDR, 1);
        raw
    }

    /// Sends a frame of TCP over IPv4 that is to be cut into segments.
    pub fn send_to_be_cut(&self, frame: &[u8], headers: u16, segment: u16) {
        // struct virtio_net_hdr: checksum wanted, TCP over IPv4.
        let mut bytes = vec![
            1,
            if frame.len() > usize::from(headers + segment) {
                1
            } else {
                0
            },
        ];
        let size = if bytes[1] == 1 { segment } else { 0 };
        for word in [headers, size, 34, 16] {
            bytes.extend(word.to_ne_bytes());
        }
        bytes.extend(frame);
        self.send(&bytes);
    }

    /// One that sees what arrives and what leaves.
    pub fn listener(name: &str) -> Self {
        let raw = Self::open(name, (libc::ETH_P_ALL as u16).to_be());
        raw.option(libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, 64 << 20);
        raw
    }

    fn open(name: &str, protocol: u16) -> Self {
        // SAFETY: a system call without pointers; the descriptor is owned from here on.
        let socket = unsafe {
            let fd = libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0);
            assert!(fd >= 0, "packet socket: {}", io::Error::last_os_error());
            OwnedFd::from_raw_fd(fd)
        };
        let index = rustix::net::netdevice::name_to_index(&socket, name).unwrap();
        // SAFETY: plain old data; the address outlives the call.
        let bound = unsafe {
            let mut address: libc::sockaddr_ll = std::mem::zeroed();
            address.sll_family = libc::AF_PACKET as u16;
            address.sll_protocol = protocol;
            address.sll_ifindex = index.cast_signed();
            let size = size_of::<libc::sockaddr_ll>() as u32;
            libc::bind(socket.as_raw_fd(), (&raw const address).cast(), size)
        };
        assert_eq!(bound, 0, "bind: {}", io::Error::last_os_error());
        Self { socket, index }
    }

    fn option(&self, level: i32, name: i32, value: i32) {
        // SAFETY: the value outlives the call.
        let set = unsafe {
            let size = size_of::<i32>() as u32;
            libc::setsockopt(
                self.socket.as_raw_fd(),
                level,
                name,
                (&raw const value).cast(),
                size,
            )
        };
        assert_eq!(set, 0, "option {name}: {}", io::Error::last_os_error());
    }

    /// Sends one frame, and again where the other side's queue was full.
    pub fn send(&self, frame: &[u8]) {
        let mut sent = (0, 0);
        self.send_all(std::iter::once(frame), &mut sent);
    }

    /// Sends one frame, whether or not it gets through.
    pub fn try_send(&self, frame: &[u8]) {
        self.send_some(&[frame]);
    }

    /// Sends frames, each until it got through, and adds what was sent: packets, bytes.
    pub fn send_all<'a>(&self, frames: impl Iterator<Item = &'a [u8]>, sent: &mut (u64, u64)) {
        let frames: Vec<&[u8]> = frames.collect();
        for batch in frames.chunks(BATCH) {
            let mut rest = batch;
            while !rest.is_empty() {
                let through = self.send_some(rest);
                for frame in &rest[..through] {
                    sent.0 += 1;
                    sent.1 += frame.len() as u64;
                }
                rest = &rest[through..];
                if through == 0 {
                    std::thread::yield_now();
                }
            }
        }
    }

    /// One system call; how many frames got through.
    fn send_some(&self, frames: &[&[u8]]) -> usize {
        let mut vectors: Vec<libc::iovec> = frames
            .iter()
            .map(|frame| libc::iovec {
                iov_base: frame.as_ptr().cast_mut().cast(),
                iov_len: frame.len(),
            })
            .collect();
        let mut messages: Vec<libc::mmsghdr> = vectors
            .iter_mut()
            .map(|vector| {
                // SAFETY: plain old data.
                let mut message: libc::mmsghdr = unsafe { std::mem::zeroed() };
                message.msg_hdr.msg_iov = vector;
                message.msg_hdr.msg_iovlen = 1;
                message
            })
            .collect();
        let fd = self.socket.as_raw_fd();
        // SAFETY: headers, vectors and frames outlive the call; the kernel reads the frames only.
        let sent = unsafe { libc::sendmmsg(fd, messages.as_mut_ptr(), messages.len() as u32, 0) };
        if sent < 0 {
            let error = io::Error::last_os_error();
            let full = matches!(
                error.raw_os_error(),
                Some(libc::ENOBUFS | libc::EAGAIN | libc::EINTR)
            );
            assert!(full, "sending: {error}");
            return 0;
        }
        sent as usize
    }

    /// Receives a frame, or nothing within the time.
    pub fn receive(&self, limit: Duration) -> Option<Vec<u8>> {
        let mut wait = libc::pollfd {
            fd: self.socket.as_raw_fd(),
            events: libc::POLLIN,
            revents: 0,
        };
        let mut frame = vec![0; 1 << 17];
        // SAFETY: both buffers outlive their calls.
        let length = unsafe {
            if libc::poll(&raw mut wait, 1, limit.as_millis() as i32) <= 0 {
                return None;
            }
            libc::recv(
                self.socket.as_raw_fd(),
                frame.as_mut_ptr().cast(),
                frame.len(),
                0,
            )
        };
        frame.truncate(usize::try_from(length).ok()?);
        Some(frame)
    }
}
