//! Ending on SIGINT or SIGTERM between two steps, and never in the midst of one.

use std::{mem::MaybeUninit, time::Duration};

/// Both signals, held back until somebody waits for them.
pub(super) struct Stop {
    signals: libc::sigset_t,
}

impl Stop {
    /// Holds both signals back from now on.
    pub(super) fn hold() -> Self {
        let mut signals = MaybeUninit::uninit();
        // SAFETY: the set is made empty before it is used; the calls cannot fail with
        // these signals.
        let signals = unsafe {
            libc::sigemptyset(signals.as_mut_ptr());
            let mut signals = signals.assume_init();
            libc::sigaddset(&raw mut signals, libc::SIGINT);
            libc::sigaddset(&raw mut signals, libc::SIGTERM);
            libc::pthread_sigmask(libc::SIG_BLOCK, &raw const signals, std::ptr::null_mut());
            signals
        };
        Self { signals }
    }

    /// Waits; whether a signal came meanwhile.
    pub(super) fn within(&self, time: Duration) -> bool {
        let time = libc::timespec {
            tv_sec: time.as_secs().try_into().unwrap_or(libc::time_t::MAX),
            tv_nsec: time.subsec_nanos().into(),
        };
        // SAFETY: both are valid; nothing is asked to be told of the signal. A wait cut
        // short by another signal (a stop and go on) is a poll that comes early.
        unsafe {
            libc::sigtimedwait(
                &raw const self.signals,
                std::ptr::null_mut(),
                &raw const time,
            ) > 0
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_ends_the_wait_and_nothing_else() {
        // On a thread of its own: the mask is the thread's.
        std::thread::spawn(|| {
            let stop = Stop::hold();
            assert!(!stop.within(Duration::from_millis(1)));
            // SAFETY: this thread, which holds the signal back.
            unsafe { libc::pthread_kill(libc::pthread_self(), libc::SIGTERM) };
            assert!(stop.within(Duration::from_secs(10)));
            assert!(!stop.within(Duration::ZERO));
        })
        .join()
        .unwrap();
    }
}
