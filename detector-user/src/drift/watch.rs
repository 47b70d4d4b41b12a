//! The watch over live rows: window after window, each held against the model's reference.

use super::{
    DriftSettings,
    report::{Drift, State},
    tally::{Tally, Told},
};
use crate::model::Card;

/// Rows of a tick that are counted, at most; of more, every n-th is.
const ROWS_PER_TICK_MAX: usize = 64;

/// Rows so far, whatever the model was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// That were counted in a window.
    pub rows: u64,
    /// That were not, because they are of an attack that was told of.
    pub set_aside: u64,
    /// Windows that were full.
    pub windows: u64,
}

/// Watches live rows.
#[derive(Debug, Default)]
pub struct Watch {
    settings: DriftSettings,
    tally: Option<Tally>,
    counts: Counts,
    drift: Drift,
    /// When the present window began.
    began_us: Option<u64>,
    /// Every n-th row of the tick is counted; those until the next.
    stride: usize,
    until: usize,
}

impl Watch {
    /// Other settings; the window begins anew where they differ.
    pub fn set(&mut self, settings: DriftSettings) {
        if self.settings != settings {
            self.settings = settings;
            self.begin();
        }
    }

    /// Another model, or none: its reference is another.
    pub fn set_model(&mut self, card: Option<&Card>) {
        self.tally = card.and_then(Tally::of);
        self.begin();
    }

    fn begin(&mut self) {
        let _ = self.tally.as_mut().map(Tally::take);
        self.began_us = None;
        self.drift = Drift {
            state: match self.tally {
                Some(_) => State::Gathering,
                None => State::Unknown,
            },
            features: self.tally.as_ref().map_or(0, Tally::features),
            ..Drift::default()
        };
    }

    /// A tick begins that brings so many rows.
    pub fn expect(&mut self, rows: usize) {
        self.stride = rows.div_ceil(ROWS_PER_TICK_MAX).max(1);
        // Not always the first of a tick: rows come in the table's order.
        self.until %= self.stride;
    }

    /// Whether the next row is to be counted, or set aside.
    #[inline]
    pub fn wants_next(&mut self) -> bool {
        if self.tally.is_none() {
            return false;
        }
        let wanted = self.until == 0;
        self.until = if wanted { self.stride } else { self.until } - 1;
        wanted
    }

    /// Counts a row and its probabilities.
    pub fn add(&mut self, row: &[f32], probabilities: &[f32], now_us: u64) {
        if let Some(tally) = &mut self.tally {
            tally.add(row, probabilities);
            self.counts.rows += 1;
            self.began_us.get_or_insert(now_us);
        }
    }

    /// Does not count a row, which is of an attack.
    pub fn set_aside(&mut self) {
        self.counts.set_aside += 1;
    }

    /// Ends a tick, and a window that is full.
    pub fn end(&mut self, now_us: u64) {
        self.drift.since_us.get_or_insert(now_us);
        let Some(tally) = &mut self.tally else {
            return;
        };
        let lasted_us = now_us.saturating_sub(self.began_us.unwrap_or(now_us));
        if tally.rows() < self.settings.window_rows.max(1)
            || lasted_us < self.settings.window_s * 1_000_000
        {
            return;
        }
        let told = tally.take();
        self.began_us = None;
        self.counts.windows += 1;
        self.note(&told, now_us);
    }

    fn note(&mut self, told: &Told, now_us: u64) {
        let state = self.settings.state(told);
        let since_us = (self.drift.since_us)
            .filter(|_| state == self.drift.state)
            .or(Some(now_us));
        self.drift = Drift {
            state,
            since_us,
            windows: self.drift.windows + 1,
            score_psi: Some(told.score_psi),
            features: told.features.len(),
            moved: told.moved(self.settings.drifted),
            top: told.top().to_vec(),
            ..Drift::default()
        };
    }

    /// What is known.
    #[must_use]
    pub fn drift(&self) -> Drift {
        Drift {
            gathered: self.tally.as_ref().map_or(0, Tally::rows),
            wanted: self.settings.window_rows,
            ..self.drift.clone()
        }
    }

    /// Rows so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.counts
    }
}

impl DriftSettings {
    /// What a window says.
    #[must_use]
    pub fn state(&self, told: &Told) -> State {
        let moved = told.moved(self.drifted) as f64;
        let many = self.moved_share * told.features.len().max(1) as f64;
        if told.score_psi >= self.drifted || moved >= many {
            State::Drifted
        } else if told.score_psi >= self.shifting || moved >= many / 2.0 {
            State::Shifting
        } else {
            State::Stable
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::model::{Reference, Spread};

    const SECOND: u64 = 1_000_000;

    /// Values from 0 to 1, evenly, whatever their number.
    fn even(n: u64) -> f32 {
        (n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as f32 / (1 << 24) as f32
    }

    fn card() -> Card {
        let spread = || Spread::of((0..10_000).map(even).collect());
        Card {
            features: vec!["a".to_owned(), "b".to_owned()],
            classes: vec!["attack".to_owned(), "benign".to_owned()],
            reference: Some(Reference {
                rows: 10_000,
                class: "benign".to_owned(),
                score: spread(),
                features: BTreeMap::from([("b".to_owned(), spread())]),
            }),
            ..Card::default()
        }
    }

    fn watch() -> Watch {
        let mut watch = Watch::default();
        watch.set(DriftSettings {
            window_rows: 2_000,
            window_s: 10,
            ..DriftSettings::default()
        });
        watch.set_model(Some(&card()));
        watch
    }

    /// Ticks of ten rows each, a second apart, whose feature b and score are bent so.
    fn pass(watch: &mut Watch, from_s: u64, ticks: u64, bend: impl Fn(f32) -> f32) {
        for tick in from_s..from_s + ticks {
            watch.expect(10);
            for row in 0..10 {
                let (b, score) = (bend(even(10 * tick + row)), bend(even(10 * tick + row)));
                assert!(watch.wants_next());
                watch.add(&[f32::NAN, b], &[1.0 - score, score], tick * SECOND);
            }
            watch.end(tick * SECOND);
        }
    }

    #[test]
    fn traffic_as_it_was_is_stable_and_other_traffic_is_not() {
        let mut watch = watch();
        pass(&mut watch, 0, 199, |x| x);
        assert_eq!(watch.drift().state, State::Gathering);
        assert_eq!(
            (watch.drift().gathered, watch.drift().wanted),
            (1_990, 2_000)
        );
        pass(&mut watch, 199, 1, |x| x);
        let stable = watch.drift();
        assert_eq!(
            (stable.state, stable.windows, stable.moved),
            (State::Stable, 1, 0)
        );
        assert!(stable.score_psi < Some(0.02), "{stable:?}");
        assert_eq!(stable.since_us, Some(199 * SECOND));
        pass(&mut watch, 200, 200, |x| x);
        assert_eq!(watch.drift().since_us, Some(199 * SECOND), "still so");
        pass(&mut watch, 400, 200, |x| x * x.sqrt());
        assert_eq!(watch.drift().state, State::Shifting, "{:?}", watch.drift());
        pass(&mut watch, 600, 200, |x| x * 0.3);
        let drifted = watch.drift();
        assert_eq!(
            (drifted.state, drifted.windows, drifted.moved),
            (State::Drifted, 4, 1)
        );
        assert_eq!((drifted.features, &*drifted.top[0].feature), (1, "b"));
        assert_eq!(
            watch.counts(),
            Counts {
                rows: 8_000,
                set_aside: 0,
                windows: 4
            }
        );
        // What is missing, or outside of all that was there, is elsewhere, too.
        for (n, elsewhere) in [f32::NAN, 2.0, -1.0].into_iter().enumerate() {
            pass(&mut watch, 800 + 200 * n as u64, 200, |_| elsewhere);
            assert!(watch.drift().score_psi > Some(3.0), "{:?}", watch.drift());
        }
    }

    #[test]
    fn features_that_have_moved_are_drift_though_the_model_says_the_same() {
        for (share, wanted) in [(0.5, State::Drifted), (1.0, State::Shifting)] {
            let mut card = card();
            let reference = card.reference.as_mut().unwrap();
            // As feature b is spread, and stays so.
            let spread = reference.features["b"].clone();
            reference.features.insert("a".to_owned(), spread);
            let mut watch = watch();
            watch.set(DriftSettings {
                moved_share: share,
                ..watch.settings
            });
            watch.set_model(Some(&card));
            watch.expect(10);
            for n in 0..2_000 {
                let (x, score) = (even(n), even(n));
                watch.add(&[x, 5.0], &[1.0 - score, score], n * SECOND);
            }
            watch.end(2_000 * SECOND);
            let drift = watch.drift();
            assert!(drift.score_psi < Some(0.02), "{drift:?}");
            assert_eq!((drift.state, drift.moved), (wanted, 1), "{drift:?}");
        }
    }

    #[test]
    fn a_window_needs_rows_and_time() {
        let mut watch = watch();
        // A thousand rows each second, of which some are looked at.
        let mut wanted = 0;
        for tick in 0..200_u64 {
            watch.expect(1_000);
            for row in 0..1_000 {
                if watch.wants_next() {
                    wanted += 1;
                    let x = even(1_000 * tick + row);
                    watch.add(&[0.0, x], &[1.0 - x, x], tick * SECOND / 100);
                }
            }
            watch.end(tick * SECOND / 100);
        }
        let at_most = 200 * ROWS_PER_TICK_MAX as u64;
        assert!((at_most * 9 / 10..=at_most).contains(&wanted), "{wanted}");
        assert_eq!(
            watch.drift().state,
            State::Gathering,
            "two seconds are too few"
        );
        watch.end(9 * SECOND);
        assert_eq!(watch.drift().state, State::Gathering);
        watch.end(10 * SECOND);
        assert_eq!(watch.drift().state, State::Stable);
    }

    #[test]
    fn another_model_begins_anew_and_one_that_says_nothing_is_unknown() {
        let mut watch = watch();
        pass(&mut watch, 0, 200, |_| 0.1);
        assert_eq!(watch.drift().state, State::Drifted);
        watch.set_model(Some(&card()));
        let begun = watch.drift();
        assert_eq!(
            (begun.state, begun.windows, begun.score_psi),
            (State::Gathering, 0, None)
        );
        assert_eq!(watch.counts().rows, 2_000, "counters only rise");
        pass(&mut watch, 200, 100, |x| x);
        watch.set(DriftSettings {
            drifted: 1.0,
            ..watch.settings
        });
        assert_eq!(watch.drift().gathered, 0, "other settings, another window");
        for none in [Some(Card::default()), None] {
            watch.set_model(none.as_ref());
            watch.expect(10);
            assert!(!watch.wants_next());
            watch.end(SECOND);
            assert_eq!(watch.drift().state, State::Unknown);
        }
    }
}
