//! `/api/v1/models`: the model in force; another one, and back.

use std::{collections::BTreeMap, sync::Arc};

use axum::{Json, body::Body, extract::State};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    Shared,
    access::MayChange,
    body,
    change::Change,
    changes::{Done, ask},
    problem::Problem,
    shapes::{File, NoBody, NoChange},
};
use crate::score::Scorer;

/// A model.
#[derive(Serialize, ToSchema)]
pub(super) struct Model {
    name: String,
    version: String,
    feature_set: String,
    /// In the order of a row.
    features: Vec<String>,
    classes: Vec<String>,
    /// The probability from which on a flow is found to be of the class.
    thresholds: BTreeMap<String, f32>,
    trees: usize,
    nodes: usize,
    parent: Option<String>,
    data_fingerprint: String,
    /// How well it did, by name.
    metrics: BTreeMap<String, f64>,
}

/// What scores.
#[derive(Serialize, ToSchema)]
pub(super) struct Models {
    /// The model in force; null where plain thresholds decide alone.
    active: Option<Model>,
}

impl Model {
    fn of(scorer: &Scorer) -> Self {
        let card = scorer.ensemble().card();
        let thresholds = scorer.families();
        Self {
            name: card.name.clone(),
            version: card.version.clone(),
            feature_set: card.feature_set.clone(),
            features: card.features.clone(),
            classes: card.classes.clone(),
            thresholds: thresholds
                .iter()
                .map(|(family, threshold)| (family.name().to_owned(), *threshold))
                .collect(),
            trees: scorer.ensemble().trees(),
            nodes: scorer.ensemble().nodes(),
            parent: card.parent.clone(),
            data_fingerprint: card.data_fingerprint.clone(),
            metrics: card.metrics.clone(),
        }
    }
}

/// The model in force
#[utoipa::path(get, path = "/api/v1/models", responses((status = 200, body = Models)))]
pub(super) async fn models(State(shared): State<Arc<Shared>>) -> Json<Models> {
    let scorer = shared.published.scorer.load();
    Json(Models {
        active: scorer.as_deref().map(Model::of),
    })
}

/// Score by this model file from now on, until the configuration is read again; it is checked first and written nowhere
#[utoipa::path(post, path = "/api/v1/models", request_body(content = File, content_type = "application/octet-stream"), responses(
    (status = 200, body = Done),
    NoBody,
    NoChange,
))]
pub(super) async fn load(
    _: MayChange,
    State(shared): State<Arc<Shared>>,
    body: Body,
) -> Result<Json<Done>, Problem> {
    let _place = shared.bodies.acquire().await;
    let bytes = body::read(body, shared.settings.body_bytes_max).await?;
    let read = tokio::task::spawn_blocking(move || Scorer::from_bytes(&bytes, "(uploaded)")).await;
    let scorer = read
        .map_err(|error| Problem::internal(error.to_string()))?
        .map_err(|error| {
            Problem::bad_request(
                "the model cannot be used",
                error.to_string(),
                "send a model file as `detector train` writes it, for this version's features",
            )
        })?;
    ask(&shared, Change::Model(Arc::new(scorer))).await
}

/// Score by the model before again
#[utoipa::path(post, path = "/api/v1/models/rollback", responses(
    (status = 200, body = Done),
    (status = 409, description = "There is none", body = Problem, content_type = "application/problem+json"),
    NoChange,
))]
pub(super) async fn rollback(
    _: MayChange,
    State(shared): State<Arc<Shared>>,
) -> Result<Json<Done>, Problem> {
    ask(&shared, Change::Rollback).await
}
