//! `/api/v1/score/batch`: many rows, in any of four formats.

mod rows;

use std::{fmt::Write as _, sync::Arc};

use arrow::{
    array::{ArrayRef, BooleanArray, Float32Array, RecordBatch, StringArray},
    datatypes::{DataType, Field, Schema},
    ipc::writer::StreamWriter,
};
use axum::{
    body::Body,
    extract::State,
    http::{HeaderMap, header},
    response::{IntoResponse, Response},
};

use super::{
    Shared, body,
    problem::{Problem, ProblemKind},
    score,
    shapes::{FeatureValues, File, NoBody},
};
use crate::{model::Scratch, score::Scorer};
use rows::{Format, Rows};

/// The media type of an Arrow stream.
const ARROW: &str = "application/vnd.apache.arrow.stream";

/// What the model says of each row.
struct Scores {
    attack: Vec<bool>,
    family: Vec<&'static str>,
    score: Vec<f32>,
    /// Rows × classes.
    probabilities: Vec<f32>,
}

fn score_all(scorer: &Scorer, rows: &Rows) -> Scores {
    let (count, classes) = (rows.len(), scorer.families().len());
    let mut scores = Scores {
        attack: Vec::with_capacity(count),
        family: Vec::with_capacity(count),
        score: Vec::with_capacity(count),
        probabilities: vec![0.0; count * classes],
    };
    scorer.probabilities_of_rows(
        rows.values(),
        &mut scores.probabilities,
        &mut Scratch::default(),
    );
    for probabilities in scores.probabilities.chunks_exact(classes) {
        let found = scorer.judge(probabilities);
        let likeliest = || {
            let named = scorer.families().iter().zip(probabilities.iter());
            let best = named.max_by(|(_, a), (_, b)| a.total_cmp(b));
            best.map_or(("benign", 0.0), |((family, _), p)| (family.name(), *p))
        };
        let (family, score) = found.map_or_else(likeliest, |(family, p)| (family.name(), p));
        scores.attack.push(found.is_some());
        scores.family.push(family);
        scores.score.push(score);
    }
    scores
}

impl Scores {
    fn json(&self, scorer: &Scorer) -> Response {
        let model = serde_json::Value::from(scorer.name());
        let mut text = format!("{{\"model\":{model},\"scores\":[");
        for n in 0..self.family.len() {
            // Names of families and numbers: nothing to escape, and no NaN comes of fractions.
            let _ = write!(
                text,
                "{}{{\"attack\":{},\"family\":\"{}\",\"score\":{}}}",
                if n == 0 { "" } else { "," },
                self.attack[n],
                self.family[n],
                self.score[n]
            );
        }
        text.push_str("]}");
        ([(header::CONTENT_TYPE, "application/json")], text).into_response()
    }

    fn csv(&self) -> Response {
        let mut text = String::from("attack,family,score\n");
        for n in 0..self.family.len() {
            let _ = writeln!(
                text,
                "{},{},{}",
                self.attack[n], self.family[n], self.score[n]
            );
        }
        ([(header::CONTENT_TYPE, "text/csv")], text).into_response()
    }

    fn arrow(self, scorer: &Scorer) -> Result<Response, arrow::error::ArrowError> {
        let classes = scorer.families();
        let mut fields = vec![
            Field::new("attack", DataType::Boolean, false),
            Field::new("family", DataType::Utf8, false),
            Field::new("score", DataType::Float32, false),
        ];
        let mut columns: Vec<ArrayRef> = vec![
            Arc::new(BooleanArray::from(self.attack)),
            Arc::new(StringArray::from(self.family)),
            Arc::new(Float32Array::from(self.score)),
        ];
        for (class, (family, _)) in classes.iter().enumerate() {
            fields.push(Field::new(format!("p_{family}"), DataType::Float32, false));
            let column = self.probabilities.iter().skip(class).step_by(classes.len());
            columns.push(Arc::new(Float32Array::from_iter_values(column.copied())));
        }
        let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?;
        let mut writer = StreamWriter::try_new(Vec::new(), &batch.schema())?;
        writer.write(&batch)?;
        let bytes = writer.into_inner()?;
        Ok(([(header::CONTENT_TYPE, ARROW)], bytes).into_response())
    }
}

fn text_of(headers: &HeaderMap, name: header::HeaderName) -> &str {
    let value = headers.get(name).and_then(|value| value.to_str().ok());
    let value = value.unwrap_or_default();
    value.split([';', ',']).next().unwrap_or_default().trim()
}

/// Score many rows: JSON (`[{feature: value}]`), CSV with a header, an Arrow stream or file, or Parquet, by Content-Type. The
/// answer is JSON, or CSV or an Arrow stream by Accept
#[utoipa::path(post, path = "/api/v1/score/batch",
    request_body(content(
        (Vec<FeatureValues> = "application/json"), (String = "text/csv"),
        (File = "application/vnd.apache.arrow.stream"), (File = "application/vnd.apache.arrow.file"),
        (File = "application/vnd.apache.parquet"),
    )),
    responses(
        (status = 200, description = "A score a row, in the rows' order", content(
            (Object = "application/json"), (String = "text/csv"), (File = "application/vnd.apache.arrow.stream"),
        )),
        NoBody,
        (status = 415, body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "There is no model", body = Problem, content_type = "application/problem+json"),
    ))]
pub(super) async fn batch(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let format = Format::of(text_of(&headers, header::CONTENT_TYPE)).ok_or_else(|| {
        Problem::new(
            ProblemKind::MediaType,
            "rows are not read from this",
            format!(
                "Content-Type is {:?}",
                text_of(&headers, header::CONTENT_TYPE)
            ),
            Format::ALLOWED,
        )
    })?;
    let answer = text_of(&headers, header::ACCEPT).to_owned();
    let scorer = score::scorer(&shared)?;
    // So many bodies are held at once, and no more.
    let _place = shared.bodies.acquire().await;
    let bytes = body::read(body, shared.settings.body_bytes_max).await?;
    let tallied = shared.clone();
    let scored = tokio::task::spawn_blocking(move || {
        let rows = Rows::read(format, bytes)?;
        let scores = score_all(&scorer, &rows);
        tallied.published.tallies.rows_scored(rows.len() as u64);
        match answer.as_str() {
            ARROW => scores
                .arrow(&scorer)
                .map_err(|error| Problem::internal(error.to_string())),
            "text/csv" => Ok(scores.csv()),
            _ => Ok(scores.json(&scorer)),
        }
    });
    scored
        .await
        .map_err(|error| Problem::internal(error.to_string()))?
}
