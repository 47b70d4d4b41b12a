//! Columns to features: words become numbers, what cannot be learnt from is left out.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use super::{
    TablesError,
    column::{Column, Holds},
    prepare::{Counts, ENCODINGS},
    roles,
};
use crate::model::Card;

/// Words that a column of categories may have.
const CATEGORIES_MAX: usize = 256;

/// Columns with their names, words already numbers.
pub(super) struct Encoded {
    pub(super) names: Vec<String>,
    pub(super) columns: Vec<Vec<f32>>,
    pub(super) encodings: BTreeMap<String, Vec<String>>,
}

fn encodings_of(card: &Card) -> BTreeMap<String, Vec<String>> {
    (card.training.get(ENCODINGS))
        .and_then(|all| serde_json::from_value(all.clone()).ok())
        .unwrap_or_default()
}

fn count(column: &Column, counts: &mut Counts) {
    counts.missing += column.found.missing;
    counts.infinite += column.found.infinite;
    counts.absurd += column.found.absurd;
}

/// Columns to learn from.
pub(super) fn encode(
    columns: Vec<Column>,
    kept: &[String],
    left_out: &mut BTreeMap<String, String>,
    counts: &mut Counts,
    notes: &mut Vec<String>,
) -> Encoded {
    let mut encoded = Encoded {
        names: Vec::new(),
        columns: Vec::new(),
        encodings: BTreeMap::new(),
    };
    for mut column in columns {
        let values = match column.holds(CATEGORIES_MAX) {
            Holds::Nothing(why) => {
                left_out.insert(column.name, why);
                continue;
            }
            Holds::Numbers if column.numbers.iter().all(|x| x.is_nan()) => {
                left_out.insert(column.name, "no values".to_owned());
                continue;
            }
            Holds::Numbers if column.is_row_number() && !kept.contains(&column.name) => {
                left_out.insert(column.name, "it numbers the rows".to_owned());
                continue;
            }
            Holds::Numbers => {
                counts.not_numbers += column.found.texts;
                if let Some((place, text)) = &column.found.first_text {
                    notes.push(format!(
                        "column {}: {} values are no numbers and count as missing, the first {text:?} in {place}",
                        column.name, column.found.texts
                    ));
                }
                count(&column, counts);
                column.numbers
            }
            Holds::Words(words, codes) => {
                count(&column, counts);
                let mut sorted: Vec<String> = words.iter().map(ToString::to_string).collect();
                sorted.sort_unstable();
                let values = numbered(&words, &codes, &sorted);
                encoded.encodings.insert(column.name.clone(), sorted);
                values
            }
        };
        encoded.names.push(column.name);
        encoded.columns.push(values);
    }
    encoded
}

/// Words as their place among `known`, missing where they are not there.
fn numbered(words: &[Arc<str>], codes: &[u32], known: &[String]) -> Vec<f32> {
    let place = |word: &Arc<str>| {
        known
            .iter()
            .position(|known| **known == **word)
            .map_or(f32::NAN, |place| place as f32)
    };
    let places: Vec<f32> = words.iter().map(place).collect();
    let value = |&code: &u32| match code {
        0 => f32::NAN,
        code => places[code as usize - 1],
    };
    codes.iter().map(value).collect()
}

/// The columns that a model has learnt from, in its order.
pub(super) fn encode_for(
    columns: Vec<Column>,
    card: &Card,
    rows: usize,
    allow_missing: bool,
    counts: &mut Counts,
    missing_features: &mut Vec<String>,
) -> Result<Encoded, TablesError> {
    let mut by_name: HashMap<String, Column> = columns
        .into_iter()
        .map(|column| (column.name.clone(), column))
        .collect();
    let encodings = encodings_of(card);
    let absent: Vec<String> = (card.features.iter())
        .filter(|name| !by_name.contains_key(*name))
        .cloned()
        .collect();
    let dialect = roles::is_cicflowmeter(&card.features);
    let excused = |name: &String| dialect && roles::is_optional(name);
    let refused =
        absent.len() == card.features.len() || !allow_missing && !absent.iter().all(excused);
    if refused {
        return Err(TablesError::Features {
            missing: absent,
            wanted: card.features.len(),
        });
    }
    *missing_features = absent;
    let mut values = Vec::with_capacity(card.features.len());
    for name in &card.features {
        let Some(mut column) = by_name.remove(name) else {
            values.push(vec![f32::NAN; rows]);
            continue;
        };
        count(&column, counts);
        values.push(match (encodings.get(name), column.holds(usize::MAX)) {
            (Some(known), Holds::Words(words, codes)) => numbered(&words, &codes, known),
            (Some(_), _) => vec![f32::NAN; rows],
            (None, _) => {
                counts.not_numbers += column.found.texts;
                column.numbers
            }
        });
    }
    Ok(Encoded {
        names: card.features.clone(),
        columns: values,
        encodings,
    })
}
