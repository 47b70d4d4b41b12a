//! Ordinary clients, who are no attackers: they browse, some with a new connection for each page, some with one for
//! many; where asked to, they download and work by SSH as well. How each request fared is noted.
//!
//! Requests are due at fixed times, whatever became of those before, and a request's latency runs from the moment it was
//! due: a server that hangs cannot make itself look better by being asked less.

mod request;

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow};
use serde::Serialize;

use self::request::Caller;
pub use self::request::{TIMEOUT, connect};
use super::network::{CLIENTS, client, client6};
use super::{Lab, Namespace, SERVER, SERVER6, complain};

/// Pages a second that are asked for, all clients together.
pub const PAGES_PER_SECOND: u32 = 100;

/// Workers with a new connection for each page: so many that each request is sent on time, though all others wait for as
/// long as they may.
const SHORT: u32 = PAGES_PER_SECOND / 2 * TIMEOUT.as_secs() as u32;
/// Workers that keep a connection.
const KEPT: u32 = 8;
/// Workers that download.
const DOWNLOADERS: u32 = 2;
/// Between two pieces of a download: less than a piece takes, so that the next is due at once.
const PIECE_INTERVAL: Duration = Duration::from_millis(1);
/// Between two logins by SSH.
const SESSION_INTERVAL: Duration = Duration::from_millis(1500);

/// What the clients do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// They browse.
    Browse,
    /// They browse by IPv6.
    Browse6,
    /// They browse and download.
    BrowseAndDownload,
    /// They browse, download and log in by SSH.
    Everything,
}

/// A kind of request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Page,
    Piece,
    Session,
}

/// One request.
#[derive(Clone, Copy, Debug)]
struct Sample {
    kind: Kind,
    due: Instant,
    /// `None`: it failed.
    latency: Option<Duration>,
}

/// The clients, at work; dropping ends it.
pub struct Clients {
    ended: Arc<AtomicBool>,
    samples: Arc<Mutex<Vec<Sample>>>,
    workers: Vec<JoinHandle<Result<()>>>,
    begin: Instant,
}

/// How the clients fared within some time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Service {
    /// Requests of all kinds: pages, pieces of downloads, SSH logins.
    pub requests: usize,
    /// Requests that were answered in full.
    pub answered: usize,
    /// Half of the pages that came did so within this time, ms.
    pub page_ms_p50: f64,
    /// 99 of 100 of the pages that came did so within this time, ms.
    pub page_ms_p99: f64,
}

/// One worker's task.
struct Task {
    kind: Kind,
    caller: Caller,
    begin: Instant,
    interval: Duration,
}

impl Clients {
    /// Begins to work.
    ///
    /// # Errors
    /// Where the namespace is gone.
    pub fn start(lab: &Lab, work: Work) -> Result<Self> {
        let mut clients = Self {
            ended: Arc::default(),
            samples: Arc::default(),
            workers: Vec::new(),
            begin: Instant::now(),
        };
        let address = |n: u32| -> (IpAddr, IpAddr) {
            let n = (n % u32::from(CLIENTS)) as u8 + 1;
            match work {
                Work::Browse6 => (client6(n).into(), SERVER6.into()),
                _ => (client(n).into(), SERVER.into()),
            }
        };
        let half = Duration::from_secs(2) / PAGES_PER_SECOND;
        for n in 0..SHORT {
            let caller = Caller::short(address(n));
            clients.page_worker(lab.clients(), caller, n, SHORT, half)?;
        }
        for n in 0..KEPT {
            let caller = Caller::kept(address(n));
            clients.page_worker(lab.clients(), caller, n, KEPT, half)?;
        }
        if matches!(work, Work::BrowseAndDownload | Work::Everything) {
            for n in 0..DOWNLOADERS {
                let caller = Caller::download(address(n));
                clients.worker(lab.clients(), Kind::Piece, caller, PIECE_INTERVAL)?;
            }
        }
        if work == Work::Everything {
            let caller = Caller::session(address(0), lab.ssh_key(), ssh()?);
            clients.worker(lab.clients(), Kind::Session, caller, SESSION_INTERVAL)?;
        }
        Ok(clients)
    }

    /// One of several workers that ask for pages in turn.
    fn page_worker(
        &mut self,
        namespace: &Namespace,
        caller: Caller,
        n: u32,
        of: u32,
        interval: Duration,
    ) -> Result<()> {
        let task = Task {
            kind: Kind::Page,
            caller,
            begin: self.begin + interval * n,
            interval: interval * of,
        };
        self.start_worker(namespace, task)
    }

    fn worker(
        &mut self,
        namespace: &Namespace,
        kind: Kind,
        caller: Caller,
        interval: Duration,
    ) -> Result<()> {
        let task = Task {
            kind,
            caller,
            begin: self.begin,
            interval,
        };
        self.start_worker(namespace, task)
    }

    fn start_worker(&mut self, namespace: &Namespace, task: Task) -> Result<()> {
        let door = namespace.door()?;
        let (ended, samples) = (Arc::clone(&self.ended), Arc::clone(&self.samples));
        self.workers.push(thread::spawn(move || {
            door.enter()?;
            task.work(&ended, &samples);
            Ok(())
        }));
        Ok(())
    }

    /// How they fared with the requests that were due between two times. Those whose answer is still awaited are left
    /// out: ask [`TIMEOUT`] later, or after [`Clients::end`].
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
    /// Where one could not work.
    pub fn end(&mut self) -> Result<()> {
        self.ended.store(true, Ordering::Relaxed);
        for worker in self.workers.drain(..) {
            worker.join().map_err(|_| anyhow!("a client panicked"))??;
        }
        Ok(())
    }
}

impl Drop for Clients {
    fn drop(&mut self) {
        if let Err(error) = self.end() {
            complain("clients", &error);
        }
    }
}

impl Service {
    fn of<'a>(samples: impl Iterator<Item = &'a Sample>) -> Self {
        let (mut requests, mut answered, mut pages) = (0, 0, Vec::new());
        for sample in samples {
            requests += 1;
            answered += usize::from(sample.latency.is_some());
            if sample.kind == Kind::Page {
                pages.extend(sample.latency);
            }
        }
        pages.sort_unstable();
        let within_ms = |part: f64| {
            let rank = (pages.len() as f64 * part).ceil() as usize;
            let latency = pages.get(rank.saturating_sub(1));
            latency.copied().unwrap_or_default().as_secs_f64() * 1000.0
        };
        Self {
            requests,
            answered,
            page_ms_p50: within_ms(0.5),
            page_ms_p99: within_ms(0.99),
        }
    }
}

impl Task {
    fn work(mut self, ended: &AtomicBool, samples: &Mutex<Vec<Sample>>) {
        let kind = self.kind;
        let note = |due, latency| {
            let mut samples = samples.lock().unwrap_or_else(PoisonError::into_inner);
            samples.push(Sample { kind, due, latency });
        };
        let mut due = self.begin;
        while !ended.load(Ordering::Relaxed) {
            thread::sleep(due.saturating_duration_since(Instant::now()));
            let answered = self.caller.ask().is_ok();
            let latency = Some(due.elapsed()).filter(|latency| answered && *latency <= TIMEOUT);
            note(due, latency);
            due += self.interval;
            // Pieces follow one another; they are not due while another one comes.
            if kind == Kind::Piece {
                due = due.max(Instant::now());
                continue;
            }
            // What fell due while this worker waited in vain was not served either.
            while due + self.interval < Instant::now() && latency.is_none() {
                note(due, None);
                due += self.interval;
            }
        }
    }
}

fn ssh() -> Result<PathBuf> {
    crate::tool::find("ssh").context("ssh is missing: run `cargo xtask setup` as root")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_and_ranks() {
        let due = Instant::now();
        let sample = |kind, latency| Sample { kind, due, latency };
        let page = |ms| sample(Kind::Page, Some(Duration::from_millis(ms)));
        let mut samples: Vec<_> = (1..=100).map(page).collect();
        samples.push(sample(Kind::Piece, Some(Duration::from_secs(9))));
        let service = Service::of(samples.iter());
        assert_eq!((service.page_ms_p50, service.page_ms_p99), (50.0, 99.0));
        samples.extend([sample(Kind::Page, None); 101]);
        let service = Service::of(samples.iter());
        assert_eq!((service.answered, service.requests), (101, 202));
        assert_eq!(Service::of([].iter()), Service::default());
    }
}
