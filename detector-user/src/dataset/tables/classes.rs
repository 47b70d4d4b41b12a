//! Labels to classes.

use std::{collections::BTreeMap, sync::Arc};

use super::{Gathered, TablesError, labels, prepare::Options};
use crate::model::{CLASSES_MAX, Card};

/// The classes, and that of each row.
pub(super) struct Classed {
    pub(super) names: Vec<String>,
    pub(super) of_row: Vec<Option<u16>>,
    pub(super) unknown: usize,
}

/// The classes that labels become: those of the model, if there is one, then those it does not know.
pub(super) fn classes(
    gathered: &Gathered,
    options: &Options<'_>,
    card: Option<&Card>,
    notes: &mut Vec<String>,
) -> Result<Classed, TablesError> {
    let words = &gathered.label_words.all;
    let spelt = spellings(words, &gathered.labels, notes);
    let of_word: Vec<Option<String>> = spelt
        .iter()
        .map(|label| options.map.class(label).map(str::to_owned))
        .collect();
    let mut present = vec![false; words.len()];
    for label in &gathered.labels {
        present[*label as usize] = true;
    }
    let mut found: Vec<String> = (of_word.iter().zip(&present))
        .filter(|(_, present)| **present)
        .filter_map(|(class, _)| class.clone())
        .collect();
    labels::sort(&mut found, options.benign);
    found.dedup();
    let alike = |known: &[String], class: &str| {
        let exact = known.iter().position(|known| known == class);
        exact.or_else(|| {
            known
                .iter()
                .position(|known| known.eq_ignore_ascii_case(class))
        })
    };
    let mut names = card.map_or_else(Vec::new, |card| card.classes.clone());
    let of_model = names.len();
    for class in found {
        if alike(&names[..of_model], &class).is_none() {
            names.push(class);
        }
    }
    if names.len() > CLASSES_MAX {
        return Err(TablesError::TooManyClasses {
            column: gathered.label_column.clone().unwrap_or_default(),
            found: names.len(),
            max: CLASSES_MAX,
        });
    }
    let numbers: Vec<Option<u16>> = of_word
        .iter()
        .map(|class| alike(&names, class.as_ref()?).map(|place| place as u16))
        .collect();
    Ok(Classed {
        unknown: if card.is_some() {
            names.len() - of_model
        } else {
            0
        },
        of_row: gathered
            .labels
            .iter()
            .map(|&word| numbers[word as usize])
            .collect(),
        names,
    })
}

/// Labels that differ by case alone are one, spelt as most of them are.
fn spellings(words: &[Arc<str>], labels: &[u32], notes: &mut Vec<String>) -> Vec<String> {
    let mut counts = vec![0_u64; words.len()];
    for label in labels {
        counts[*label as usize] += 1;
    }
    let mut best: BTreeMap<String, usize> = BTreeMap::new();
    for (place, word) in words.iter().enumerate() {
        let entry = best.entry(word.to_lowercase()).or_insert(place);
        if counts[place] > counts[*entry] {
            *entry = place;
        }
    }
    words
        .iter()
        .enumerate()
        .map(|(place, word)| {
            let spelt = best.get(&word.to_lowercase()).copied().unwrap_or(place);
            if spelt != place && counts[place] > 0 {
                notes.push(format!("label {word:?} is taken for {:?}", words[spelt]));
            }
            words[spelt].to_string()
        })
        .collect()
}
