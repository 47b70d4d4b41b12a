//! The card of a model that has just been trained.

use serde::Serialize;

use super::table::Table;
use crate::model::{Card, feature_hash};

/// A card that says what the model was trained on and how, without a name, a calibration or metrics.
pub(super) fn blank_card(table: &Table, learner: &str, options: &impl Serialize) -> Card {
    let schema = table.schema();
    let mut training = serde_json::Map::new();
    training.insert("learner".to_owned(), learner.into());
    // Numbers, names and lists only: they always have a JSON form.
    if let Ok(serde_json::Value::Object(options)) = serde_json::to_value(options) {
        training.extend(options);
    }
    Card {
        feature_set: schema.feature_set.clone(),
        feature_hash: feature_hash(&schema.feature_set, &schema.features),
        features: schema.features.clone(),
        classes: schema.classes.clone(),
        data_fingerprint: table.fingerprint(),
        training,
        ..Card::default()
    }
}
