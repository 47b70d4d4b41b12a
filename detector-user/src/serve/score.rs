//! `/api/v1/score`: one row, by feature name.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, LazyLock},
};

use axum::{Json, body::Body, extract::State};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    Shared, body,
    problem::{Problem, ProblemKind},
    shapes::{FeatureValues, NoBody},
};
use crate::{
    features::{COUNT, NAMES, Row},
    score::Scorer,
};

/// Where each feature stands in a row.
pub(super) static PLACES: LazyLock<HashMap<&'static str, usize>> = LazyLock::new(|| {
    NAMES
        .iter()
        .enumerate()
        .map(|(n, name)| (*name, n))
        .collect()
});

/// A row.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    /// Values by feature name; those that are not there, or null, are missing.
    #[schema(value_type = FeatureValues, inline)]
    features: HashMap<String, Option<f64>>,
}

/// What the model says of a row.
#[derive(Serialize, ToSchema)]
pub(super) struct Score {
    /// Name and version.
    model: String,
    /// Whether a threshold is reached.
    attack: bool,
    /// The likeliest class.
    family: &'static str,
    /// Its probability.
    score: f32,
    /// By class.
    probabilities: BTreeMap<&'static str, f32>,
    /// Features that spoke most for it.
    explanation: String,
    /// How many features were missing.
    missing: usize,
}

/// The model in force, where there is one.
pub(super) fn scorer(shared: &Shared) -> Result<Arc<Scorer>, Problem> {
    shared.published.scorer.load_full().ok_or_else(|| {
        Problem::new(
            ProblemKind::NoModel,
            "there is no model to score by",
            "the agent runs on plain thresholds alone",
            "start it without --no-model, or load a model (POST /api/v1/models)",
        )
    })
}

/// What is wrong with a feature's name.
pub(super) fn unknown(name: &str) -> Problem {
    Problem::bad_request(
        "a feature is not known",
        format!("{name:?} is none of the {COUNT} features"),
        "/api/v1/models lists them in their order",
    )
}

/// Score one row of features
#[utoipa::path(post, path = "/api/v1/score", request_body = Asked, responses(
    (status = 200, body = Score),
    NoBody,
    (status = 503, description = "There is no model", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn score(
    State(shared): State<Arc<Shared>>,
    body: Body,
) -> Result<Json<Score>, Problem> {
    let asked: Asked = body::json(body).await?;
    let scorer = scorer(&shared)?;
    let mut row: Row = [f32::NAN; COUNT];
    for (name, value) in &asked.features {
        let place = PLACES.get(name.as_str()).ok_or_else(|| unknown(name))?;
        // Features have 32 bits: what is larger is infinite.
        row[*place] = value.map_or(f32::NAN, |value| value as f32);
    }
    let mut probabilities = vec![0.0; scorer.families().len()];
    scorer.probabilities(&row, &mut probabilities);
    shared.published.tallies.rows_scored(1);
    let named = || scorer.families().iter().zip(&probabilities);
    let likeliest = named().max_by(|(_, a), (_, b)| a.total_cmp(b));
    let found = scorer.find(&row);
    let (family, score) = match (found, likeliest) {
        (Some(found), _) => found,
        (None, Some(((family, _), p))) => (*family, *p),
        (None, None) => return Err(Problem::internal("the model has no class")),
    };
    Ok(Json(Score {
        model: scorer.name(),
        attack: found.is_some(),
        family: family.name(),
        score,
        probabilities: named()
            .map(|((family, _), p)| (family.name(), *p))
            .collect(),
        explanation: scorer.explain(&row, family),
        missing: row.iter().filter(|value| value.is_nan()).count(),
    }))
}
