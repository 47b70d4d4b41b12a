//! One column while it is read.

use std::{collections::HashMap, sync::Arc};

use super::Place;

/// Different words that a column is followed through; one with more is no category.
const WORDS_MAX: usize = 4096;
/// Above this nothing that is measured of a flow goes: 10¹⁵ µs are 31 years.
const ABSURD: f64 = 1e15;
/// Rows from which it is no chance that values rise from each to the next.
const ROWS_MIN: usize = 20;

/// One value.
#[derive(Clone, Copy, Debug)]
pub(super) enum Cell<'a> {
    Missing,
    Number(f64),
    Text(&'a str),
}

impl<'a> Cell<'a> {
    /// What a text says: tables write missing values in many ways.
    pub(super) fn of(text: &'a str) -> Self {
        let text = text.trim();
        match text.as_bytes().first() {
            None => return Self::Missing,
            // No number begins otherwise, but for infinities and what is none.
            Some(b'0'..=b'9' | b'.' | b'+') => {
                if let Ok(number) = text.parse() {
                    return Self::Number(number);
                }
            }
            Some(b'-') if text.len() == 1 => return Self::Missing,
            Some(b'-' | b'i' | b'I' | b'n' | b'N') => {
                if let Ok(number) = text.parse() {
                    return Self::Number(number);
                }
            }
            Some(_) => {}
        }
        let missing = ["null", "none", "na", "n/a", "?", "(empty)", "<na>"];
        if missing.iter().any(|word| text.eq_ignore_ascii_case(word)) {
            return Self::Missing;
        }
        Self::Text(text)
    }
}

/// Words, numbered from 0 on as they come.
#[derive(Clone, Debug, Default)]
pub struct Words {
    /// The words.
    pub all: Vec<Arc<str>>,
    numbers: HashMap<Arc<str>, u32>,
}

impl Words {
    /// The number of a word.
    pub(super) fn number(&mut self, word: &str) -> u32 {
        if let Some(number) = self.numbers.get(word) {
            return *number;
        }
        let word: Arc<str> = word.into();
        let number = self.all.len() as u32;
        self.all.push(word.clone());
        self.numbers.insert(word, number);
        number
    }
}

/// What was found in a column.
#[derive(Clone, Debug, Default)]
pub(super) struct Found {
    pub(super) missing: u64,
    pub(super) infinite: u64,
    pub(super) absurd: u64,
    pub(super) texts: u64,
    pub(super) first_text: Option<(Place, String)>,
}

/// A column: numbers, and words where there are any.
pub(super) struct Column {
    pub(super) name: String,
    pub(super) numbers: Vec<f32>,
    /// Per row 0 or 1 + the number of its word; empty where there is no word yet.
    codes: Vec<u32>,
    words: Words,
    too_many_words: bool,
    never_negative: bool,
    pub(super) found: Found,
}

/// What a column turned out to hold.
pub(super) enum Holds {
    Numbers,
    /// Words, and per row 0 or 1 + the number of its word.
    Words(Vec<Arc<str>>, Vec<u32>),
    /// Why it cannot be learnt from.
    Nothing(String),
}

impl Column {
    /// A column that had no values in `rows` rows so far.
    pub(super) fn new(name: &str, rows: usize, never_negative: bool) -> Self {
        Self {
            name: name.to_owned(),
            numbers: vec![f32::NAN; rows],
            codes: Vec::new(),
            words: Words::default(),
            too_many_words: false,
            never_negative,
            found: Found::default(),
        }
    }

    pub(super) fn push(&mut self, cell: Cell<'_>, place: impl Fn() -> Place) {
        let mut code = 0;
        let number = match cell {
            Cell::Missing => {
                self.found.missing += 1;
                f32::NAN
            }
            Cell::Number(number) => self.number(number),
            Cell::Text(text) => {
                self.found.texts += 1;
                if self.found.first_text.is_none() {
                    self.found.first_text = Some((place(), text.to_owned()));
                }
                if !self.too_many_words {
                    code = 1 + self.words.number(text);
                }
                f32::NAN
            }
        };
        if code > 0 && self.codes.is_empty() {
            self.codes = vec![0; self.numbers.len()];
        }
        if !self.codes.is_empty() || code > 0 {
            self.codes.push(code);
        }
        self.numbers.push(number);
        if self.words.all.len() > WORDS_MAX {
            self.too_many_words = true;
            self.words = Words::default();
            self.codes = Vec::new();
        }
    }

    fn number(&mut self, number: f64) -> f32 {
        if number.is_nan() {
            self.found.missing += 1;
            return f32::NAN;
        }
        if number.is_infinite() {
            self.found.infinite += 1;
            return f32::NAN;
        }
        if number.abs() > ABSURD || self.never_negative && number < 0.0 {
            self.found.absurd += 1;
            return f32::NAN;
        }
        number as f32
    }

    /// Missing values up to so many rows.
    pub(super) fn pad(&mut self, rows: usize) {
        if !self.codes.is_empty() {
            self.codes.resize(rows, 0);
        }
        self.numbers.resize(rows, f32::NAN);
    }

    /// Whether it numbers the rows: whole numbers that rise from each row to the next.
    pub(super) fn is_row_number(&self) -> bool {
        let rising = |pair: &[f32]| pair[0] < pair[1];
        self.numbers.len() >= ROWS_MIN
            && self.numbers.iter().all(|x| x.fract() == 0.0)
            && self.numbers.windows(2).all(rising)
    }

    /// What it holds: words where at least half of its values are such.
    pub(super) fn holds(&mut self, categories_max: usize) -> Holds {
        let numbers = self.numbers.iter().filter(|x| !x.is_nan()).count() as u64;
        if self.found.texts == 0 || self.found.texts < numbers {
            self.codes = Vec::new();
            return Holds::Numbers;
        }
        if self.too_many_words || self.words.all.len() > categories_max {
            return Holds::Nothing(format!("more than {categories_max} different words"));
        }
        let addresses = self
            .words
            .all
            .iter()
            .filter(|word| word.parse::<std::net::IpAddr>().is_ok());
        if 2 * addresses.count() > self.words.all.len() {
            return Holds::Nothing("addresses".to_owned());
        }
        Holds::Words(
            std::mem::take(&mut self.words.all),
            std::mem::take(&mut self.codes),
        )
    }
}
