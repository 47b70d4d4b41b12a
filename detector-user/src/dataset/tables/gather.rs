//! Rows of many tables, column by column.

use std::{
    collections::{BTreeMap, HashMap},
    path::{Path, PathBuf},
};

use crate::features;

use super::{
    Place, TablesError,
    column::{Cell, Column, Words},
    labels::{self, LabelMap},
    roles::{self, Role},
    time,
};

/// Broken rows that are named.
const NAMED: usize = 5;

/// What is done with a broken row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BadRows {
    /// It is left out, named and counted.
    #[default]
    Skip,
    /// The table is refused.
    Refuse,
}

/// Which columns say what.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// What a row is; where none is named, the column called `label`.
    pub label: Option<String>,
    /// Whether a table without labels is refused.
    pub needs_label: bool,
    /// What a row must not be separated from.
    pub group: Option<String>,
    /// When it was.
    pub time: Option<String>,
    /// Columns to learn from that would be left out.
    pub keep: Vec<String>,
    /// Columns to leave out.
    pub without: Vec<String>,
    /// What is done with a broken row.
    pub bad_rows: BadRows,
}

/// Where a value goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target {
    Nowhere,
    Feature(usize),
    Label,
    Group,
    Time,
    Capture,
}

/// All rows read so far.
pub struct Gathered {
    pub(super) wanted: Wanted,
    pub(super) columns: Vec<Column>,
    by_name: HashMap<String, usize>,
    pub(super) labels: Vec<u32>,
    pub(super) label_words: Words,
    pub(super) groups: Vec<u32>,
    pub(super) group_words: Words,
    pub(super) captures: Vec<u32>,
    pub(super) capture_words: Words,
    pub(super) times: Vec<f64>,
    /// The label's column, as the first table calls it.
    pub label_column: Option<String>,
    /// Columns left out, and why.
    pub left_out: BTreeMap<String, String>,
    /// Tables read.
    pub files: Vec<PathBuf>,
    /// Rows that the tables have, whatever became of them.
    pub rows_read: u64,
    /// Broken rows left out.
    pub bad_rows: u64,
    /// The first of them.
    pub bad_named: Vec<String>,
    /// Rows without a label, left out.
    pub unlabelled: u64,
    /// Lines that tell of something else than a flow, left out.
    pub other_events: u64,
    /// Whether all tables are CICFlowMeter's.
    pub cicflowmeter: bool,
    file_words: u32,
    seen_columns: Vec<String>,
}

impl Gathered {
    pub(super) fn new(wanted: Wanted) -> Self {
        Self {
            wanted,
            columns: Vec::new(),
            by_name: HashMap::new(),
            labels: Vec::new(),
            label_words: Words::default(),
            groups: Vec::new(),
            group_words: Words::default(),
            captures: Vec::new(),
            capture_words: Words::default(),
            times: Vec::new(),
            label_column: None,
            left_out: BTreeMap::new(),
            files: Vec::new(),
            rows_read: 0,
            bad_rows: 0,
            bad_named: Vec::new(),
            unlabelled: 0,
            other_events: 0,
            cicflowmeter: true,
            file_words: 0,
            seen_columns: Vec::new(),
        }
    }

    /// Rows kept.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.labels.len()
    }

    /// The label that is no attack: the one named, or else the one that is called so, apart from those that a map sends
    /// elsewhere.
    #[must_use]
    pub fn benign_label(&self, named: Option<&str>, map: &LabelMap) -> Option<String> {
        let all: Vec<String> = self
            .label_words
            .all
            .iter()
            .map(ToString::to_string)
            .collect();
        let place = labels::benign(&all, named)?;
        let label = all[usize::from(place)].clone();
        let mapped = named.is_none()
            && map
                .pairs()
                .keys()
                .any(|known| known.eq_ignore_ascii_case(&label));
        (!mapped).then_some(label)
    }

    /// Begins a file.
    pub(super) fn open(&mut self, path: &Path) {
        self.files.push(path.to_owned());
        self.file_words = self.capture_words.number(&path.display().to_string());
    }

    /// Ends a file: columns that it lacks are missing.
    pub(super) fn close(&mut self, path: &Path, rows_before: usize) -> Result<(), TablesError> {
        let rows = self.rows();
        for column in &mut self.columns {
            column.pad(rows);
        }
        if rows == rows_before {
            let counts = [
                (self.bad_rows, "broken"),
                (self.unlabelled, "without a label"),
                (self.other_events, "events of other types"),
            ];
            let found: Vec<String> = counts
                .iter()
                .filter(|(count, _)| *count > 0)
                .map(|(count, what)| format!("{count} {what}"))
                .chain(self.bad_named.first().cloned())
                .collect();
            return Err(TablesError::NoRows {
                path: path.to_owned(),
                cause: (!found.is_empty()).then(|| found.join(", ")),
            });
        }
        Ok(())
    }

    /// Where the values of each column of a table go.
    pub(super) fn targets(
        &mut self,
        path: &Path,
        header: &[String],
    ) -> Result<Vec<Target>, TablesError> {
        let named = |name: &str| position(header, name);
        let missing = |column: &str, what| TablesError::NoColumn {
            path: path.to_owned(),
            column: column.to_owned(),
            what,
            have: header.iter().map(|name| name.trim().to_owned()).collect(),
        };
        let label = match &self.wanted.label {
            Some(column) => {
                let place = named(column);
                if place.is_none() && self.wanted.needs_label {
                    return Err(missing(column, "label"));
                }
                place
            }
            None => {
                let place = roles::label_column(header);
                if place.is_none() && self.wanted.needs_label {
                    return Err(missing("label", "label"));
                }
                place
            }
        };
        let group = match &self.wanted.group {
            Some(column) => Some(named(column).ok_or_else(|| missing(column, "group"))?),
            None => None,
        };
        let time = match &self.wanted.time {
            Some(column) => Some(named(column).ok_or_else(|| missing(column, "time"))?),
            None => roles::time_column(header),
        };
        if let (None, Some(place)) = (&self.label_column, label) {
            self.label_column = Some(header[place].trim().to_owned());
        }
        let dialect = roles::is_cicflowmeter(header);
        // This project's feature rows say beside them of which flow they are.
        let extracted = features::NAMES
            .iter()
            .all(|name| header.iter().any(|column| column == name));
        self.cicflowmeter &= dialect;
        let mut targets = Vec::with_capacity(header.len());
        let mut taken = Vec::new();
        for (place, original) in header.iter().enumerate() {
            let original = original.trim();
            if !self.seen_columns.iter().any(|seen| seen == original) {
                self.seen_columns.push(original.to_owned());
            }
            let at = Some(place);
            if at == label {
                targets.push(Target::Label);
                continue;
            }
            let canonical = roles::cicflowmeter(original).filter(|_| dialect);
            let name = canonical.unwrap_or(original);
            let keep = position(&self.wanted.keep, original).is_some()
                || position(&self.wanted.keep, name).is_some();
            let role = match roles::role(original) {
                _ if keep => Role::Feature,
                role => role,
            };
            let beside = extracted && !keep && !features::NAMES.contains(&original);
            let reason = if position(&self.wanted.without, original).is_some() {
                Some("--without")
            } else {
                role.reason().or(beside.then_some("no feature"))
            };
            let without = position(&self.wanted.without, name).is_some();
            if let Some(reason) = reason.or(without.then_some("--without")) {
                self.left_out.insert(original.to_owned(), reason.to_owned());
                targets.push(if at == group {
                    Target::Group
                } else if at == time {
                    Target::Time
                } else if role == Role::Capture {
                    Target::Capture
                } else {
                    Target::Nowhere
                });
                continue;
            }
            if at == group {
                self.left_out
                    .insert(original.to_owned(), "group".to_owned());
                targets.push(Target::Group);
            } else if at == time && !keep {
                self.left_out.insert(original.to_owned(), "time".to_owned());
                targets.push(Target::Time);
            } else if taken.contains(&name) {
                self.left_out
                    .insert(original.to_owned(), format!("the same as {name}"));
                targets.push(Target::Nowhere);
            } else {
                taken.push(name);
                targets.push(Target::Feature(self.column(name, dialect)));
            }
        }
        Ok(targets)
    }

    /// Whether every column named in an option was there.
    pub(super) fn check_options(&self) -> Result<(), TablesError> {
        let options = [
            ("--keep", &self.wanted.keep),
            ("--without", &self.wanted.without),
        ];
        for (option, columns) in options {
            for column in columns {
                let known = position(&self.seen_columns, column).is_some()
                    || self.columns.iter().any(|known| known.name == *column);
                if !known {
                    return Err(TablesError::Option {
                        column: column.clone(),
                        option,
                        have: self.seen_columns.clone(),
                    });
                }
            }
        }
        Ok(())
    }

    fn column(&mut self, name: &str, cicflowmeter: bool) -> usize {
        if let Some(place) = self.by_name.get(name) {
            return *place;
        }
        let never_negative = cicflowmeter && roles::is_never_negative(name);
        self.columns
            .push(Column::new(name, self.labels.len(), never_negative));
        self.by_name.insert(name.to_owned(), self.columns.len() - 1);
        self.columns.len() - 1
    }

    /// Takes a row, a value for each target.
    pub(super) fn row<'a>(
        &mut self,
        path: &Path,
        line: u64,
        targets: &[Target],
        cells: impl Iterator<Item = Cell<'a>> + Clone,
        texts: impl Fn(usize) -> Option<&'a str>,
    ) -> Result<(), TablesError> {
        self.rows_read += 1;
        let place = || Place {
            path: path.to_owned(),
            line,
        };
        let mut own = Own {
            capture: self.file_words,
            time: f64::NAN,
            ..Own::default()
        };
        for (at, target) in targets.iter().enumerate() {
            let Some(text) = (match target {
                Target::Nowhere | Target::Feature(_) => None,
                _ => texts(at),
            }) else {
                continue;
            };
            self.own(&mut own, *target, text);
        }
        if !self.take(own) {
            return Ok(());
        }
        for (target, cell) in targets.iter().zip(cells) {
            if let Target::Feature(column) = target {
                self.columns[*column].push(cell, place);
            }
        }
        Ok(())
    }

    /// What a value that is no feature says of its row.
    pub(super) fn own(&mut self, own: &mut Own, target: Target, text: &str) {
        let text = text.trim();
        match target {
            Target::Label if !text.is_empty() => {
                own.label = Some(self.label_words.number(&label(text)))
            }
            Target::Group => own.group = Some(self.group_words.number(text)),
            Target::Capture if !text.is_empty() => own.capture = self.capture_words.number(text),
            Target::Time => own.time = time::seconds(text).unwrap_or(f64::NAN),
            _ => {}
        }
    }

    /// Begins a row by what is no feature; false where it is left out.
    pub(super) fn take(&mut self, own: Own) -> bool {
        let label = match own.label {
            Some(label) => label,
            None if self.wanted.needs_label => {
                self.unlabelled += 1;
                return false;
            }
            None => self.label_words.number(""),
        };
        self.labels.push(label);
        self.groups
            .push(own.group.unwrap_or_else(|| self.group_words.number("")));
        self.captures.push(own.capture);
        self.times.push(own.time);
        true
    }

    /// The capture that a file's rows are of, where no column says otherwise.
    pub(super) fn file_capture(&self) -> u32 {
        self.file_words
    }

    /// A row that cannot be read.
    pub(super) fn bad(&mut self, path: &Path, line: u64, cause: &str) -> Result<(), TablesError> {
        let place = Place {
            path: path.to_owned(),
            line,
        };
        if self.wanted.bad_rows == BadRows::Refuse {
            return Err(TablesError::BadRow {
                place,
                cause: cause.to_owned(),
            });
        }
        self.rows_read += 1;
        self.bad_rows += 1;
        if self.bad_named.len() < NAMED {
            self.bad_named.push(format!("{place}: {cause}"));
        }
        Ok(())
    }
}

/// What a row says of itself beside its features.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Own {
    pub(super) label: Option<u32>,
    pub(super) group: Option<u32>,
    pub(super) capture: u32,
    pub(super) time: f64,
}

/// A label as it is, a whole number without its fraction: 2.0 and 2 are one.
fn label(text: &str) -> String {
    match text.parse::<f64>() {
        Ok(number) if number.fract() == 0.0 && number.abs() < 1e15 => format!("{number:.0}"),
        _ => text.to_owned(),
    }
}

/// Where a name is: as it is written, or else apart from case and spaces around it.
fn position<S: AsRef<str>>(names: &[S], wanted: &str) -> Option<usize> {
    let exact = |name: &S| name.as_ref() == wanted;
    let alike = |name: &S| name.as_ref().trim().eq_ignore_ascii_case(wanted.trim());
    let place = names.iter().position(exact);
    place.or_else(|| names.iter().position(alike))
}
