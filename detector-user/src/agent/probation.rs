//! The first time of a new model: where it raises far more alerts than the former did, the former returns.

use super::model_source::ModelSettings;

/// How fast what is usual is forgotten, µs.
const MEMORY_US: f64 = 600e6;
/// What was usual is taken to be at least this, so that the first alerts after a quiet hour are none too many.
const ELAPSED_MIN_US: f64 = 60e6;

/// Counts the alerts that the model raises.
#[derive(Debug, Default)]
pub struct Probation {
    /// Alerts lately, fading.
    lately: f64,
    at_us: u64,
    new: Option<New>,
}

#[derive(Debug)]
struct New {
    since_us: u64,
    /// Alerts a µs under the former model.
    usual: f64,
    alerts: u32,
}

/// A model that raises too many.
#[derive(Debug, PartialEq)]
pub struct TooMany {
    /// Alerts since it was taken.
    pub alerts: u32,
    /// How many would have been usual.
    pub usual: f64,
}

impl Probation {
    /// The model raised an alert.
    pub fn alert(&mut self, now_us: u64) {
        self.fade(now_us);
        self.lately += 1.0;
        if let Some(new) = &mut self.new {
            new.alerts += 1;
        }
    }

    /// Another model decides from now on.
    pub fn begin(&mut self, now_us: u64) {
        self.fade(now_us);
        self.new = Some(New {
            since_us: now_us,
            usual: self.lately / MEMORY_US,
            alerts: 0,
        });
    }

    /// The model that decides is as good as known: it came at the start, or has returned.
    pub fn end(&mut self) {
        self.new = None;
    }

    /// Whether the new model raises too many; told once.
    pub fn look(&mut self, settings: &ModelSettings, now_us: u64) -> Option<TooMany> {
        let new = self.new.as_ref()?;
        let elapsed_us = now_us.saturating_sub(new.since_us);
        if elapsed_us > settings.probation_s * 1_000_000 {
            self.new = None;
            return None;
        }
        let usual = new.usual * (elapsed_us as f64).max(ELAPSED_MIN_US);
        let too_many = new.alerts > settings.probation_alerts_min
            && f64::from(new.alerts) > settings.probation_factor * usual;
        let told = too_many.then_some(TooMany {
            alerts: new.alerts,
            usual,
        });
        if too_many {
            self.new = None;
        }
        told
    }

    fn fade(&mut self, now_us: u64) {
        let elapsed = now_us.saturating_sub(self.at_us) as f64;
        self.lately *= (-elapsed / MEMORY_US).exp();
        self.at_us = now_us;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000;

    fn settings() -> ModelSettings {
        ModelSettings::default()
    }

    #[test]
    fn a_model_that_alerts_far_more_than_usual_is_told_of_once() {
        let mut probation = Probation::default();
        let mut now_us = 0;
        // One a minute, for an hour.
        for _ in 0..60 {
            now_us += 60 * SECOND;
            probation.alert(now_us);
            assert_eq!(probation.look(&settings(), now_us), None, "nothing is new");
        }
        probation.begin(now_us);
        let mut told = Vec::new();
        for _ in 0..100 {
            now_us += SECOND;
            probation.alert(now_us);
            told.extend(probation.look(&settings(), now_us));
        }
        assert_eq!(told.len(), 1);
        assert_eq!(told[0].alerts, 21);
        assert!((0.8..1.2).contains(&told[0].usual), "{told:?}");
    }

    #[test]
    fn what_is_usual_raises_nothing_and_time_ends_it() {
        let mut probation = Probation::default();
        let mut now_us = 0;
        for n in 0..2_000 {
            now_us += SECOND;
            probation.alert(now_us);
            if n == 1_000 {
                probation.begin(now_us);
            }
            assert_eq!(probation.look(&settings(), now_us), None);
        }
        probation.begin(now_us);
        now_us += 601 * SECOND;
        for _ in 0..1_000 {
            probation.alert(now_us);
            assert_eq!(probation.look(&settings(), now_us), None);
        }
    }
}
