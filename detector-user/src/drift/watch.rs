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
mod tests;
