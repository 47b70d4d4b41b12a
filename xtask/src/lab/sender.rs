//! Sends frames into the laboratory, at a rate, over and over until told to stop.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use rustix::io::Errno;
use rustix::net::{SendFlags, send};

use super::{INTERFACE, Namespace, packet_socket};

/// The shortest nap: shorter ones cost more than they are worth.
const NAP_MIN: Duration = Duration::from_micros(500);
/// The longest nap, so that it stops soon when told.
const NAP_MAX: Duration = Duration::from_millis(20);
/// What is overdue by more was not sent for want of CPU time, and is given up: sent at once it would be a burst that the
/// wire (a veth's ring of 256 packets) loses.
const LATE_MAX: Duration = Duration::from_millis(5);

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
    pub fn start(
        namespace: &Namespace,
        frames: Arc<Vec<Vec<u8>>>,
        per_second: u32,
    ) -> Result<Self> {
        let stopped = Arc::new(AtomicBool::new(false));
        let sent = Arc::new(AtomicU64::new(0));
        let door = namespace.door()?;
        let (flag, count) = (Arc::clone(&stopped), Arc::clone(&sent));
        let thread = thread::spawn(move || {
            door.enter()?;
            send_here(&frames, per_second, &flag, &count)
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
        self.sent.load(Ordering::Relaxed)
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

/// Sends in the calling thread's namespace.
///
/// # Errors
/// Where there is no [`INTERFACE`], or packet sockets are not permitted.
pub fn send_here(
    frames: &[Vec<u8>],
    per_second: u32,
    stopped: &AtomicBool,
    sent: &AtomicU64,
) -> Result<()> {
    let socket = packet_socket::open().context("cannot open a packet socket")?;
    packet_socket::bind(&socket, INTERFACE, 0)
        .with_context(|| format!("cannot bind a packet socket to {INTERFACE}"))?;
    replay(&socket, frames, per_second, stopped, sent).context("cannot send")
}

fn replay(
    socket: &OwnedFd,
    frames: &[Vec<u8>],
    per_second: u32,
    stopped: &AtomicBool,
    sent: &AtomicU64,
) -> io::Result<()> {
    let mut begin = Instant::now();
    for (n, frame) in (0u64..).zip(frames.iter().cycle()) {
        let due = Duration::from_secs_f64(n as f64 / f64::from(per_second.max(1)));
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
        match send(socket, frame, SendFlags::empty()) {
            Ok(_) => {
                sent.fetch_add(1, Ordering::Relaxed);
            }
            // The wire is full: it is lost, as on any wire.
            Err(Errno::NOBUFS | Errno::AGAIN | Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
