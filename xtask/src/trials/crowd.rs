//! Attackers who ask for pages as anybody would, only too often: nothing in a single request tells them from clients.

use std::io::{Read as _, Write as _};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};

use crate::lab::clients::connect;
use crate::lab::network::{ATTACKERS, attacker};
use crate::lab::{Namespace, SERVER};

/// Requests of one connection.
const REQUESTS: u32 = 10;
/// What does not come by then is given up.
const TIMEOUT: Duration = Duration::from_secs(1);
const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: server\r\n\r\n";
/// An answer is read at most so many bytes at once.
const READ_BYTES: usize = 16 << 10;

/// The attackers, at work; dropping ends it.
pub(super) struct Crowd {
    ended: Arc<AtomicBool>,
    attackers: Vec<JoinHandle<Result<()>>>,
}

impl Crowd {
    /// Begins to ask, from each attacker's address.
    pub(super) fn start(namespace: &Namespace, per_second: u32) -> Result<Self> {
        let mut crowd = Self {
            ended: Arc::default(),
            attackers: Vec::new(),
        };
        for n in 1..=ATTACKERS {
            let (door, ended) = (namespace.door()?, Arc::clone(&crowd.ended));
            crowd.attackers.push(thread::spawn(move || {
                door.enter()?;
                let interval = Duration::from_secs(1) / per_second.max(1);
                while !ended.load(Ordering::Relaxed) {
                    // The server, or the detector, may well refuse.
                    let _ = visit(attacker(n).into(), interval, &ended);
                }
                Ok(())
            }));
        }
        Ok(crowd)
    }

    pub(super) fn end(&mut self) -> Result<()> {
        self.ended.store(true, Ordering::Relaxed);
        for attacker in self.attackers.drain(..) {
            attacker
                .join()
                .map_err(|_| anyhow!("an attacker panicked"))??;
        }
        Ok(())
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        let _ = self.end();
    }
}

/// One connection.
fn visit(source: IpAddr, interval: Duration, ended: &AtomicBool) -> Result<()> {
    let mut due = Instant::now();
    let mut stream = connect(source, SERVER.into(), TIMEOUT)?;
    let mut buffer = vec![0; READ_BYTES];
    for _ in 0..REQUESTS {
        if ended.load(Ordering::Relaxed) {
            break;
        }
        stream.write_all(REQUEST)?;
        if stream.read(&mut buffer)? == 0 {
            break;
        }
        due += interval;
        thread::sleep(due.saturating_duration_since(Instant::now()));
    }
    Ok(())
}
