//! From what was gathered to a table: words to numbers, labels to classes, each row once.

use std::collections::{BTreeMap, HashMap, hash_map::Entry};

use serde_json::{Value, json};

use super::{
    Gathered, TablesError,
    classes::classes,
    encode::{encode, encode_for},
    labels::{self, LabelMap},
};
use crate::{
    features,
    model::Card,
    train::{Schema, Table},
};

/// Key of the encodings in a card's account of its training.
pub(super) const ENCODINGS: &str = "encodings";
/// Key of the map of labels.
const LABELS: &str = "label_map";
/// Key of the harmless class.
const BENIGN: &str = "benign";
/// Key of the label's column.
const LABEL: &str = "label";

/// What becomes of the rows.
#[derive(Clone, Copy, Debug)]
pub struct Options<'a> {
    /// From labels to classes.
    pub map: &'a LabelMap,
    /// The harmless class, where it is not to be guessed.
    pub benign: Option<&'a str>,
    /// Whether rows that are the same in features and class are left out but for one.
    pub drop_duplicates: bool,
    /// Whether features that a model has and the tables lack count as missing values.
    pub allow_missing: bool,
}

/// What was found, and what became of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Rows that the tables have.
    pub read: u64,
    /// Rows kept.
    pub rows: u64,
    /// Rows whose features and class another row has: left out, if that was asked for.
    pub duplicates: u64,
    /// Rows that have the features of a row of another class, and stay.
    pub contradictions: u64,
    /// Broken rows, left out.
    pub bad_rows: u64,
    /// Rows without a label, left out.
    pub unlabelled: u64,
    /// Rows whose label is mapped to nothing, left out.
    pub unmapped: u64,
    /// Values that are not there.
    pub missing: u64,
    /// Infinite values; they count as missing.
    pub infinite: u64,
    /// Values that cannot be, such as negative sizes; they count as missing.
    pub absurd: u64,
    /// Words among numbers; they count as missing.
    pub not_numbers: u64,
}

/// A table and what is known of it.
#[derive(Debug)]
pub struct Prepared {
    /// The rows.
    pub table: Table,
    /// When each was, if anything says so; NaN where its own value says nothing.
    pub times: Option<Vec<f64>>,
    /// Names of the groups.
    pub groups: Vec<String>,
    /// Whether the groups are of a column; else they are captures.
    pub grouped: bool,
    /// Words of the columns that hold such: the number of a word is its place.
    pub encodings: BTreeMap<String, Vec<String>>,
    /// How many rows each stands for: those that were left out as its duplicates, and itself.
    pub copies: Vec<u32>,
    /// The harmless class.
    pub benign: Option<u16>,
    /// The last classes, so many, are unknown to the model that is judged.
    pub unknown_classes: usize,
    /// Features of the model that the tables lack.
    pub missing_features: Vec<String>,
    /// Columns left out, and why.
    pub left_out: BTreeMap<String, String>,
    /// What was found.
    pub counts: Counts,
    /// What a person should know of it.
    pub notes: Vec<String>,
    /// The column that the labels are of.
    pub label_column: Option<String>,
}

/// Makes a table to train from.
///
/// # Errors
/// [`TablesError`] where nothing can be learnt from it.
pub fn prepare(gathered: Gathered, options: &Options<'_>) -> Result<Prepared, TablesError> {
    make(gathered, options, None)
}

/// Makes a table with the features and classes of a model, then the classes that it does not know.
///
/// # Errors
/// [`TablesError`] where features of the model are missing.
pub fn prepare_for(
    gathered: Gathered,
    card: &Card,
    options: &Options<'_>,
) -> Result<Prepared, TablesError> {
    make(gathered, options, Some(card))
}

/// What a card must hold so that other tables can be made alike.
#[must_use]
pub fn remember(prepared: &Prepared, map: &LabelMap) -> Vec<(String, Value)> {
    let mut all = vec![(ENCODINGS.to_owned(), json!(prepared.encodings))];
    if !map.pairs().is_empty() {
        all.push((LABELS.to_owned(), json!(map.pairs())));
    }
    if let Some(benign) = prepared.benign {
        let class = &prepared.table.schema().classes[usize::from(benign)];
        all.push((BENIGN.to_owned(), json!(class)));
    }
    if let Some(column) = &prepared.label_column {
        all.push((LABEL.to_owned(), json!(column)));
    }
    all
}

/// What [`remember`] said of labels: their map, the harmless class, their column.
#[must_use]
pub fn remembered(card: &Card) -> (LabelMap, Option<String>, Option<String>) {
    let text = |key| Some(card.training.get(key)?.as_str()?.to_owned());
    let map = (card.training.get(LABELS))
        .and_then(|pairs| serde_json::from_value(pairs.clone()).ok())
        .map_or_else(LabelMap::default, LabelMap::from_pairs);
    (map, text(BENIGN), text(LABEL))
}

fn make(
    mut gathered: Gathered,
    options: &Options<'_>,
    card: Option<&Card>,
) -> Result<Prepared, TablesError> {
    if card.is_none() {
        gathered.check_options()?;
    }
    let mut counts = Counts {
        read: gathered.rows_read,
        bad_rows: gathered.bad_rows,
        unlabelled: gathered.unlabelled,
        ..Counts::default()
    };
    let mut notes: Vec<String> = (gathered.bad_named.iter())
        .map(|named| format!("broken row left out: {named}"))
        .collect();
    if gathered.other_events > 0 {
        notes.push(format!(
            "{} events are of no flow and left out",
            gathered.other_events
        ));
    }
    let columns = std::mem::take(&mut gathered.columns);
    let mut left_out = std::mem::take(&mut gathered.left_out);
    let mut missing_features = Vec::new();
    let encoded = match card {
        None => encode(
            columns,
            &gathered.wanted.keep,
            &mut left_out,
            &mut counts,
            &mut notes,
        ),
        Some(card) => encode_for(
            columns,
            card,
            gathered.rows(),
            options.allow_missing,
            &mut counts,
            &mut missing_features,
        )?,
    };
    if encoded.names.is_empty() {
        return Err(TablesError::NoFeatures {
            left_out: left_out
                .iter()
                .map(|(name, reason)| format!("{name} ({reason})"))
                .collect(),
        });
    }
    let classed = classes(&gathered, options, card, &mut notes)?;
    let (kept, copies) = keep(
        &encoded.columns,
        &classed.of_row,
        options.drop_duplicates,
        &mut counts,
    );
    let rows = kept.len();
    counts.rows = rows as u64;
    let mut values = Vec::with_capacity(rows * encoded.columns.len());
    for column in encoded.columns {
        // One column is freed as the next is taken.
        values.extend(kept.iter().map(|&row| column[row as usize]));
    }
    let pick = |from: &[u32]| -> Vec<u32> { kept.iter().map(|&row| from[row as usize]).collect() };
    let grouped = gathered.wanted.group.is_some();
    let (groups, words) = if grouped {
        (pick(&gathered.groups), &gathered.group_words.all)
    } else {
        (pick(&gathered.captures), &gathered.capture_words.all)
    };
    let times: Vec<f64> = kept
        .iter()
        .map(|&row| gathered.times[row as usize])
        .collect();
    let feature_set = match card {
        Some(card) => card.feature_set.clone(),
        None if encoded.names.iter().eq(features::NAMES.iter()) => features::SET.to_owned(),
        None if gathered.cicflowmeter => "cicflowmeter/1".to_owned(),
        None => "table/1".to_owned(),
    };
    let benign = labels::benign(&classed.names, options.benign);
    let schema = Schema {
        feature_set,
        features: encoded.names,
        classes: classed.names,
    };
    let of_kept = kept
        .iter()
        .map(|&row| classed.of_row[row as usize].unwrap_or(0));
    let table = Table::new(schema, values, of_kept.collect(), vec![1.0; rows], groups)?;
    Ok(Prepared {
        table,
        times: times.iter().any(|time| !time.is_nan()).then_some(times),
        groups: words.iter().map(ToString::to_string).collect(),
        grouped,
        encodings: encoded.encodings,
        copies,
        benign,
        unknown_classes: classed.unknown,
        missing_features,
        left_out,
        counts,
        notes,
        label_column: gathered.label_column,
    })
}

/// The rows that stay, and how many each stands for.
fn keep(
    columns: &[Vec<f32>],
    classes: &[Option<u16>],
    drop_duplicates: bool,
    counts: &mut Counts,
) -> (Vec<u32>, Vec<u32>) {
    // Column by column, as they lie; two rows of different values have one hash in 2⁶⁴ pairs.
    let mut hashes = vec![0x9e37_79b9_7f4a_7c15_u64; classes.len()];
    for column in columns {
        for (hash, value) in hashes.iter_mut().zip(column) {
            let bits = if value.is_nan() {
                f32::NAN
            } else {
                *value + 0.0
            };
            *hash = mixed(*hash ^ u64::from(bits.to_bits()));
        }
    }
    // The class, and the place among those kept.
    let mut seen: HashMap<u64, (u16, usize)> = HashMap::with_capacity(classes.len());
    let mut kept = Vec::with_capacity(classes.len());
    let mut copies: Vec<u32> = Vec::with_capacity(classes.len());
    for (row, class) in classes.iter().enumerate() {
        let Some(class) = *class else {
            counts.unmapped += 1;
            continue;
        };
        match seen.entry(hashes[row]) {
            Entry::Occupied(other) if other.get().0 == class => {
                counts.duplicates += 1;
                if drop_duplicates {
                    copies[other.get().1] += 1;
                    continue;
                }
            }
            Entry::Occupied(_) => {
                // The class is part of what makes a row: the same again is a duplicate.
                match seen.entry(mixed(hashes[row] ^ (u64::from(class) + 1))) {
                    Entry::Occupied(other) => {
                        counts.duplicates += 1;
                        if drop_duplicates {
                            copies[other.get().1] += 1;
                            continue;
                        }
                    }
                    Entry::Vacant(none) => {
                        none.insert((class, kept.len()));
                    }
                }
                counts.contradictions += 1;
            }
            Entry::Vacant(none) => {
                none.insert((class, kept.len()));
            }
        }
        kept.push(row as u32);
        copies.push(1);
    }
    (kept, copies)
}

/// The finisher of SplitMix64, of which every bit depends on every bit.
fn mixed(x: u64) -> u64 {
    let x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}
