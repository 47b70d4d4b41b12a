//! Sources that are being served: those whom a wrong verdict would hurt.

use std::collections::HashMap;

use detector_common::key::Address;

use super::policy::BudgetPolicy;

/// Served sources that are remembered.
const SERVED_MAX: usize = 1 << 16;
/// A source is served while it got payload within this, µs.
const RECENT_US: u64 = 600_000_000;
/// And if it did so for at least this before anything spoke against it, µs.
const TRUSTED_AFTER_US: u64 = 10_000_000;
const MINUTE_US: u64 = 60_000_000;

#[derive(Clone, Copy)]
struct Times {
    first_us: u64,
    last_us: u64,
}

/// What may still be done.
#[derive(Default)]
pub struct Budget {
    served: HashMap<Address, Times>,
    /// Verdicts of the running minute, and when it began.
    verdicts: u32,
    minute_us: u64,
    told: bool,
}

/// Why nothing more is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exhausted {
    /// Too many of those who are served would be denied.
    Served {
        /// How many are denied.
        denied: usize,
        /// Of how many.
        of: usize,
    },
    /// Too many verdicts within a minute.
    Verdicts {
        /// How many.
        count: u32,
    },
}

impl std::fmt::Display for Exhausted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Served { denied, of } => write!(
                f,
                "{denied} of {of} sources that were being served are denied: no more are until some are let go \
                 (decide.budget.served_share_max)"
            ),
            Self::Verdicts { count } => write!(
                f,
                "{count} verdicts on sources within a minute: no more in this one \
                 (decide.budget.verdicts_per_minute_max)"
            ),
        }
    }
}

impl Budget {
    /// Notes that a source asked and was given.
    pub fn serve(&mut self, source: Address, now_us: u64) {
        if self.served.len() >= SERVED_MAX && !self.served.contains_key(&source) {
            self.served
                .retain(|_, times| now_us.saturating_sub(times.last_us) < RECENT_US);
            if self.served.len() >= SERVED_MAX {
                return;
            }
        }
        let times = self.served.entry(source).or_insert(Times {
            first_us: now_us,
            last_us: now_us,
        });
        times.last_us = now_us;
    }

    /// Whether a source has been served for a while, and lately.
    #[must_use]
    pub fn is_served(&self, source: &Address, now_us: u64) -> bool {
        self.served.get(source).is_some_and(|times| {
            now_us.saturating_sub(times.last_us) < RECENT_US
                && times.last_us.saturating_sub(times.first_us) >= TRUSTED_AFTER_US
        })
    }

    /// Takes one verdict on a source from the budget, if it is not exhausted.
    ///
    /// # Errors
    /// What is exhausted.
    pub fn take(
        &mut self,
        policy: &BudgetPolicy,
        served: bool,
        denied_served: impl FnOnce() -> usize,
        now_us: u64,
    ) -> Result<(), Exhausted> {
        if now_us.saturating_sub(self.minute_us) >= MINUTE_US {
            self.minute_us = now_us;
            self.verdicts = 0;
            self.told = false;
            self.served
                .retain(|_, times| now_us.saturating_sub(times.last_us) < RECENT_US);
        }
        if self.verdicts >= policy.verdicts_per_minute_max {
            return Err(Exhausted::Verdicts {
                count: self.verdicts,
            });
        }
        let of = self.served.len();
        let most = (policy.served_share_max * of as f32).max(policy.served_min as f32);
        if served {
            let denied = denied_served();
            if denied as f32 >= most {
                return Err(Exhausted::Served { denied, of });
            }
        }
        self.verdicts += 1;
        Ok(())
    }

    /// Whether exhaustion has yet to be told of in this minute.
    pub fn tell(&mut self) -> bool {
        !std::mem::replace(&mut self.told, true)
    }
}
