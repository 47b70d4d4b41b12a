//! Ending on SIGINT or SIGTERM between two steps, and never in the midst of one.

use std::{mem::MaybeUninit, time::Duration};

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// To end.
    Stop,
    /// To read the configuration again.
    Reload,
}

/// Signals, held back until somebody waits for them.
pub(super) struct Stop {
    signals: libc::sigset_t,
}

impl Stop {
    /// Holds SIGINT and SIGTERM back from now on, in this thread and those that it makes.
    pub(super) fn hold() -> Self {
        Self::hold_all(&[libc::SIGINT, libc::SIGTERM])
    }

    /// SIGHUP too, which asks to reload.
    pub(super) fn hold_and_reload() -> Self {
        Self::hold_all(&[libc::SIGINT, libc::SIGTERM, libc::SIGHUP])
    }

    fn hold_all(numbers: &[libc::c_int]) -> Self {
        let mut signals = MaybeUninit::uninit();
        // SAFETY: the set is made empty before it is used; the calls cannot fail with
        // these signals.
        let signals = unsafe {
            libc::sigemptyset(signals.as_mut_ptr());
            let mut signals = signals.assume_init();
            for number in numbers {
                libc::sigaddset(&raw mut signals, *number);
            }
            libc::pthread_sigmask(libc::SIG_BLOCK, &raw const signals, std::ptr::null_mut());
            signals
        };
        Self { signals }
    }

    /// Waits; whether a signal came meanwhile.
    pub(super) fn within(&self, time: Duration) -> bool {
        self.next(time).is_some()
    }

    /// Waits; what a signal that came meanwhile asks for.
    pub(super) fn next(&self, time: Duration) -> Option<Asked> {
        let time = libc::timespec {
            tv_sec: time.as_secs().try_into().unwrap_or(libc::time_t::MAX),
            tv_nsec: time.subsec_nanos().into(),
        };
        // SAFETY: both are valid; nothing is asked to be told of the signal. A wait cut
        // short by another signal (a stop and go on) is a poll that comes early.
        let signal = unsafe {
            libc::sigtimedwait(
                &raw const self.signals,
                std::ptr::null_mut(),
                &raw const time,
            )
        };
        match signal {
            libc::SIGHUP => Some(Asked::Reload),
            n if n > 0 => Some(Asked::Stop),
            _ => None,
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
