//! Watches the data plane's counters for the first drop, and notes where they stand then.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, anyhow};
use detector_common::counters::Fate;
use detector_user::wire::{pins::Pins, tables::Tables};

use crate::lab::witness::Witness;

/// Between two looks: how late a drop may be seen.
const LOOK: Duration = Duration::from_millis(1);
/// Looks are to come in time though an attack keeps the CPUs busy.
const NICE: i32 = -15;

const DROPPED: [Fate; 4] = [
    Fate::DroppedAddress,
    Fate::DroppedPrefix,
    Fate::DroppedFlow,
    Fate::DroppedSignature,
];

/// Where the counters stand.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mark {
    pub(super) at: SystemTime,
    /// Packets that were dropped, whosever they are.
    pub(super) dropped: u64,
    /// Packets of the attack that came through.
    pub(super) passed: u64,
}

/// What was seen.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    pub(super) first_drop: Option<Mark>,
    pub(super) last: Mark,
}

/// Somebody watching; dropping ends it.
pub(super) struct Watch {
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<Seen>>>,
}

impl Watch {
    /// Begins to watch. `passed` counts what of the attack comes through.
    pub(super) fn start(pins: &Path, passed: Arc<Witness>) -> Result<Self> {
        let tables = open(pins)?;
        let ended = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&ended);
        let thread = thread::spawn(move || {
            // One that may not is a little later.
            let _ = rustix::process::setpriority_process(None, NICE);
            watch(&tables, &passed, &told)
        });
        Ok(Self {
            ended,
            thread: Some(thread),
        })
    }

    /// Ends; what was seen.
    pub(super) fn end(mut self) -> Result<Seen> {
        self.ended.store(true, Ordering::Relaxed);
        let thread = self.thread.take().context("the watch has ended before")?;
        thread.join().map_err(|_| anyhow!("the watch panicked"))?
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn open(pins: &Path) -> Result<Tables> {
    Tables::open(&Pins::new(pins)).context("cannot read the detector's counters")
}

/// Packets that were dropped since the detector was attached.
pub(super) fn dropped(pins: &Path) -> Result<u64> {
    all_dropped(&open(pins)?)
}

fn all_dropped(tables: &Tables) -> Result<u64> {
    let mut sum = 0;
    for place in 0..tables.interfaces.len() {
        if tables.interfaces.load(place).index != 0 {
            let arrived = tables.arrived(place)?;
            sum += DROPPED
                .map(|fate| arrived.tally(fate).packets)
                .iter()
                .sum::<u64>();
        }
    }
    Ok(sum)
}

fn watch(tables: &Tables, passed: &Witness, ended: &AtomicBool) -> Result<Seen> {
    let before = all_dropped(tables)?;
    let mark = || {
        Ok::<_, anyhow::Error>(Mark {
            at: SystemTime::now(),
            dropped: all_dropped(tables)? - before,
            passed: passed.count()?,
        })
    };
    let mut first_drop = None;
    while !ended.load(Ordering::Relaxed) {
        if first_drop.is_none() {
            first_drop = Some(mark()?).filter(|mark| mark.dropped > 0);
        }
        thread::sleep(LOOK);
    }
    Ok(Seen {
        first_drop,
        last: mark()?,
    })
}
