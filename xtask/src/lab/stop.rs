//! Ctrl-C, and being asked to end, as an error between two steps: whatever was built is then removed as after any
//! other error.

use std::mem::MaybeUninit;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// SIGINT, SIGTERM and SIGHUP, held back until somebody waits for them.
pub struct Stop {
    signals: libc::sigset_t,
}

impl Stop {
    /// Holds the signals back from now on: in this thread, and in the threads and processes that it starts.
    #[must_use]
    pub fn hold() -> Self {
        let mut signals = MaybeUninit::uninit();
        // SAFETY: the set is made empty before it is used; the calls cannot fail with these signals.
        let signals = unsafe {
            libc::sigemptyset(signals.as_mut_ptr());
            let mut signals = signals.assume_init();
            for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
                libc::sigaddset(&raw mut signals, signal);
            }
            libc::pthread_sigmask(libc::SIG_BLOCK, &raw const signals, std::ptr::null_mut());
            signals
        };
        Self { signals }
    }

    /// Waits.
    ///
    /// # Errors
    /// Where a signal came before or meanwhile.
    pub fn sleep(&self, time: Duration) -> Result<()> {
        let end = Instant::now() + time;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let left = libc::timespec {
                tv_sec: left.as_secs().try_into().unwrap_or(libc::time_t::MAX),
                tv_nsec: left.subsec_nanos().into(),
            };
            // SAFETY: both are valid for the call, and nothing is asked to be told of the signal.
            let signal = unsafe {
                libc::sigtimedwait(
                    &raw const self.signals,
                    std::ptr::null_mut(),
                    &raw const left,
                )
            };
            if signal > 0 {
                bail!("interrupted by signal {signal}");
            }
            // A wait that a debugger or a stop cut short goes on.
            if Instant::now() >= end {
                return Ok(());
            }
        }
    }

    /// Waits until `until`.
    ///
    /// # Errors
    /// Where a signal came.
    pub fn sleep_until(&self, until: Instant) -> Result<()> {
        self.sleep(until.saturating_duration_since(Instant::now()))
    }
}
