//! Sends packets into the laboratory, at a rate or as they were captured, over and over until told to stop.

use std::io;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use rustix::io::Errno;
use rustix::net::{SendFlags, netdevice::name_to_index, send};

use super::traffic::Packet;
use super::{INTERFACE, Namespace};

/// The shortest nap: shorter ones cost more than they are worth.
const NAP_MIN: Duration = Duration::from_micros(500);
/// The longest nap, so that it stops soon when told.
const NAP_MAX: Duration = Duration::from_millis(20);
/// What is overdue by more was not sent for want of CPU time, and is given up: sent at once it would be a burst that the
/// wire (a veth's ring of 256 packets) loses.
const LATE_MAX: Duration = Duration::from_millis(5);

/// How fast.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// Packets a second.
    PerSecond(u32),
    /// As in the capture.
    Captured,
}

/// The attacker, at work; dropping stops it.
pub struct Sender {
    stopped: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
    thread: Option<JoinHandle<Result<()>>>,
}

impl Sender {
    /// Begins to send.
    ///
    /// # Errors
    /// Where the namespace is gone.
    pub fn start(namespace: &Namespace, packets: Arc<Vec<Packet>>, pace: Pace) -> Result<Self> {
        let stopped = Arc::new(AtomicBool::new(false));
        let sent = Arc::new(AtomicU64::new(0));
        let door = namespace.door()?;
        let (flag, count) = (Arc::clone(&stopped), Arc::clone(&sent));
        let thread = thread::spawn(move || {
            door.enter()?;
            let socket = open().context("cannot open a packet socket")?;
            replay(&socket, &packets, pace, &flag, &count).context("cannot send")
        });
        Ok(Self {
            stopped,
            sent,
            thread: Some(thread),
        })
    }

    /// Packets sent so far.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::SeqCst)
    }

    /// Stops; how many packets were sent.
    ///
    /// # Errors
    /// Where sending failed.
    pub fn stop(&mut self) -> Result<u64> {
        self.stopped.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            thread
                .join()
                .map_err(|_| anyhow!("the attacker panicked"))??;
        }
        Ok(self.sent())
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        if let Err(error) = self.stop() {
            super::complain("attacker", &error);
        }
    }
}

/// A packet socket on the namespace's interface, which receives nothing.
fn open() -> io::Result<OwnedFd> {
    // SAFETY: no memory is involved; a descriptor that the kernel just made is ours alone.
    let socket = unsafe {
        let socket = libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0);
        if socket < 0 {
            return Err(io::Error::last_os_error());
        }
        OwnedFd::from_raw_fd(socket)
    };
    let index = name_to_index(&socket, INTERFACE)?;
    let address = libc::sockaddr_ll {
        sll_family: libc::AF_PACKET as u16,
        sll_protocol: 0,
        sll_ifindex: index.cast_signed(),
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 0,
        sll_addr: [0; 8],
    };
    // SAFETY: the address lives until after the call and is as long as told.
    let result = unsafe {
        libc::bind(
            socket.as_raw_fd(),
            (&raw const address).cast(),
            size_of::<libc::sockaddr_ll>() as libc::socklen_t,
        )
    };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(socket)
}

fn replay(
    socket: &OwnedFd,
    packets: &[Packet],
    pace: Pace,
    stopped: &AtomicBool,
    sent: &AtomicU64,
) -> io::Result<()> {
    let mut begin = Instant::now();
    for turn in 0u64.. {
        for (n, packet) in packets.iter().enumerate() {
            let due = due(packets, pace, turn, n);
            loop {
                if stopped.load(Ordering::Relaxed) {
                    return Ok(());
                }
                let now = begin.elapsed();
                if now >= due {
                    if now - due > LATE_MAX {
                        begin += now - due;
                    }
                    break;
                }
                thread::sleep((due - now).clamp(NAP_MIN, NAP_MAX));
            }
            match send(socket, &packet.frame, SendFlags::empty()) {
                Ok(_) => {
                    sent.fetch_add(1, Ordering::SeqCst);
                }
                // The wire is full: it is lost, as on any wire.
                Err(Errno::NOBUFS | Errno::AGAIN | Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
    Ok(())
}

/// When a packet is due after the beginning, in which turn it may be.
fn due(packets: &[Packet], pace: Pace, turn: u64, n: usize) -> Duration {
    let before = turn * packets.len() as u64 + n as u64;
    match pace {
        Pace::PerSecond(rate) => Duration::from_secs_f64(before as f64 / f64::from(rate.max(1))),
        Pace::Captured => {
            let last = packets.last().map_or(Duration::ZERO, |packet| packet.at);
            // From the last packet of a turn to the first of the next it takes the mean gap.
            let gap = last / u32::try_from(packets.len().max(2) - 1).unwrap_or(u32::MAX);
            let whole = (last + gap).max(NAP_MIN);
            whole.saturating_mul(u32::try_from(turn).unwrap_or(u32::MAX)) + packets[n].at
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_follow_one_another() {
        let ms = Duration::from_millis;
        let packets = [0, 10, 20].map(|at| Packet {
            at: ms(at),
            frame: Vec::new(),
        });
        let times = |pace| {
            (0..2)
                .flat_map(|turn| (0..3).map(move |n| (turn, n)))
                .map(|(turn, n)| due(&packets, pace, turn, n))
                .collect::<Vec<_>>()
        };
        let even = [0, 10, 20, 30, 40, 50].map(ms);
        assert_eq!(times(Pace::Captured), even);
        assert_eq!(times(Pace::PerSecond(100)), even);
    }
}
