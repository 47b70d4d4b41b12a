//! An ordinary client: it asks for a page so many times a second, a new connection each time, and notes how it fared.
//!
//! Requests are due at fixed times, whatever became of those before, and a request's latency runs from the moment it was
//! due: a server that hangs cannot make itself look better by being asked less.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, bail};

use super::nginx::PAGE_BYTES;
use super::{HTTP_PORT, Namespace, SERVER};

/// Requests a second.
pub const REQUESTS_PER_SECOND: u32 = 50;
/// A request that is not answered by then has failed.
pub const TIMEOUT: Duration = Duration::from_secs(2);
/// Threads, so that requests are sent on time while others wait for their answer.
const WORKERS: u32 = 16;

/// One request.
#[derive(Clone, Copy, Debug)]
struct Sample {
    due: Instant,
    /// `None`: it failed.
    latency: Option<Duration>,
}

/// The client, at work; dropping ends it.
pub struct Client {
    ended: Arc<AtomicBool>,
    samples: Arc<Mutex<Vec<Sample>>>,
    workers: Vec<JoinHandle<Result<()>>>,
}

/// How the client fared within some time.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Service {
    /// Requests.
    pub requests: usize,
    /// Requests that were answered in full.
    pub answered: usize,
    /// Half of those answered were answered within this time.
    pub median: Duration,
    /// 99 of 100 of those answered were answered within this time.
    pub p99: Duration,
}

impl Client {
    /// Begins to ask.
    ///
    /// # Errors
    /// Where the namespace is gone.
    pub fn start(namespace: &Namespace) -> Result<Self> {
        let ended = Arc::new(AtomicBool::new(false));
        let samples = Arc::new(Mutex::new(Vec::new()));
        let begin = Instant::now();
        let interval = Duration::from_secs(1) / REQUESTS_PER_SECOND;
        let mut client = Self {
            ended,
            samples,
            workers: Vec::new(),
        };
        for n in 0..WORKERS {
            let door = namespace.door()?;
            let (ended, samples) = (Arc::clone(&client.ended), Arc::clone(&client.samples));
            client.workers.push(thread::spawn(move || {
                door.enter()?;
                work(begin + interval * n, interval * WORKERS, &ended, &samples);
                Ok(())
            }));
        }
        Ok(client)
    }

    /// How it fared with the requests that were due between two times. Those whose answer is still awaited are left
    /// out: ask [`TIMEOUT`] later, or after [`Client::end`].
    #[must_use]
    pub fn service(&self, from: Instant, to: Instant) -> Service {
        let samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        Service::of(
            samples
                .iter()
                .filter(|sample| from <= sample.due && sample.due < to),
        )
    }

    /// Ends, when the requests under way have.
    ///
    /// # Errors
    /// Where it could not work.
    pub fn end(&mut self) -> Result<()> {
        self.ended.store(true, Ordering::Relaxed);
        for worker in self.workers.drain(..) {
            worker
                .join()
                .map_err(|_| anyhow!("the client panicked"))??;
        }
        Ok(())
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        if let Err(error) = self.end() {
            super::complain("client", &error);
        }
    }
}

impl Service {
    fn of<'a>(samples: impl Iterator<Item = &'a Sample>) -> Self {
        let (mut requests, mut latencies) = (0, Vec::new());
        for sample in samples {
            requests += 1;
            latencies.extend(sample.latency);
        }
        latencies.sort_unstable();
        let within = |part: f64| {
            let rank = (latencies.len() as f64 * part).ceil() as usize;
            latencies
                .get(rank.saturating_sub(1))
                .copied()
                .unwrap_or_default()
        };
        Self {
            requests,
            answered: latencies.len(),
            median: within(0.5),
            p99: within(0.99),
        }
    }

    /// Share of the requests that were answered.
    #[must_use]
    pub fn share(&self) -> f64 {
        self.answered as f64 / self.requests.max(1) as f64
    }
}

fn work(begin: Instant, interval: Duration, ended: &AtomicBool, samples: &Mutex<Vec<Sample>>) {
    let note = |due, latency| {
        let mut samples = samples.lock().unwrap_or_else(PoisonError::into_inner);
        samples.push(Sample { due, latency });
    };
    let mut due = begin;
    while !ended.load(Ordering::Relaxed) {
        thread::sleep(due.saturating_duration_since(Instant::now()));
        let latency = request().ok().map(|()| due.elapsed());
        note(due, latency);
        due += interval;
        // What fell due while this worker waited in vain was not served either.
        while due + interval < Instant::now() && latency.is_none() {
            note(due, None);
            due += interval;
        }
    }
}

fn request() -> Result<()> {
    let address = SocketAddr::from((SERVER, HTTP_PORT));
    let mut stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    write!(
        stream,
        "GET / HTTP/1.1\r\nHost: {SERVER}\r\nConnection: close\r\n\r\n"
    )?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    if !answer.starts_with(b"HTTP/1.1 200 ") || answer.len() < PAGE_BYTES {
        bail!("not the page");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_and_ranks() {
        let due = Instant::now();
        let sample = |ms| Sample {
            due,
            latency: Some(Duration::from_millis(ms)),
        };
        let mut samples: Vec<_> = (1..=100).map(sample).collect();
        let service = Service::of(samples.iter());
        assert_eq!(
            (service.median, service.p99),
            (Duration::from_millis(50), Duration::from_millis(99))
        );
        samples.extend([Sample { due, latency: None }; 100]);
        assert!((Service::of(samples.iter()).share() - 0.5).abs() < 1e-9);
        assert_eq!(Service::of([].iter()), Service::default());
    }
}
