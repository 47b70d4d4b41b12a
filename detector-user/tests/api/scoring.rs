//! Scores: one row, and many in every format.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, Float32Array, RecordBatch},
    ipc::{reader::StreamReader, writer::StreamWriter},
};
use detector_user::features::NAMES;
use parquet::arrow::ArrowWriter;

use crate::stage::Stage;

const ROWS: usize = 1000;

fn batch() -> RecordBatch {
    let column = |n: usize| -> ArrayRef {
        let values = (0..ROWS).map(|row| ((row * 7919 + n * 104_729) % 1000) as f32);
        Arc::new(Float32Array::from_iter_values(values))
    };
    RecordBatch::try_from_iter(NAMES.iter().enumerate().map(|(n, name)| (*name, column(n))))
        .unwrap()
}

fn csv(batch: &RecordBatch) -> String {
    let mut text = NAMES.join(",");
    for row in 0..ROWS {
        text.push('\n');
        let values = batch.columns().iter().map(|column| {
            let column = column.as_any().downcast_ref::<Float32Array>().unwrap();
            column.value(row).to_string()
        });
        text.push_str(&values.collect::<Vec<_>>().join(","));
    }
    text
}

#[test]
fn rows_score_the_same_in_every_format() {
    let Some(stage) = Stage::new(&[], "body_bytes_max = 2000000") else {
        return;
    };
    let batch = batch();
    let mut arrow = StreamWriter::try_new(Vec::new(), &batch.schema()).unwrap();
    arrow.write(&batch).unwrap();
    let arrow = arrow.into_inner().unwrap();
    let mut parquet = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut parquet, batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    let csv = csv(&batch);
    let post = |media: &str, body: &[u8], accept: &str| {
        let head = format!("Content-Type: {media}\r\nAccept: {accept}\r\n");
        stage.send("POST", "/api/v1/score/batch", &head, body)
    };
    let wanted = post("text/csv", csv.as_bytes(), "*/*");
    assert_eq!(wanted.status, 200, "{}", wanted.text());
    let wanted = wanted.json();
    assert_eq!(wanted["scores"].as_array().unwrap().len(), ROWS);
    for (media, body) in [
        ("application/vnd.apache.arrow.stream", &arrow),
        ("application/vnd.apache.parquet", &parquet),
    ] {
        let answer = post(media, body, "*/*");
        assert_eq!(answer.json(), wanted, "{media}");
    }
    // One row alone says the same.
    let row: serde_json::Map<String, serde_json::Value> = batch
        .columns()
        .iter()
        .zip(NAMES.iter())
        .map(|(column, name)| {
            let column = column.as_any().downcast_ref::<Float32Array>().unwrap();
            ((*name).to_owned(), column.value(5).into())
        })
        .collect();
    let one = serde_json::json!({ "features": row }).to_string();
    let one = stage
        .send("POST", "/api/v1/score", "", one.as_bytes())
        .json();
    assert_eq!(one["family"], wanted["scores"][5]["family"]);
    assert_eq!(one["score"], wanted["scores"][5]["score"]);
    assert_eq!(one["missing"], 0);
    let many = format!("[{}]", serde_json::Value::from(row));
    assert_eq!(
        post("application/json", many.as_bytes(), "*/*").json()["scores"][0],
        wanted["scores"][5]
    );
    // Arrow comes back where it is asked for.
    let stream = "application/vnd.apache.arrow.stream";
    let answer = post(stream, &arrow, stream);
    let mut reader = StreamReader::try_new(&answer.body[..], None).unwrap();
    let scores = reader.next().unwrap().unwrap();
    assert_eq!(scores.num_rows(), ROWS);
    assert!(scores.column_by_name("p_benign").is_some());

    for (media, body, status) in [
        ("text/plain", &b"x"[..], 415),
        (stream, b"x", 400),
        ("text/csv", b"height\n1\n", 400),
        ("application/json", b"{}", 400),
        ("text/csv", &[b' '; 2_000_001], 413),
    ] {
        let answer = post(media, body, "*/*");
        assert_eq!(answer.status, status, "{media}: {answer:?}");
    }
    let answer = stage.send("POST", "/api/v1/score", "", br#"{"features":{"height":1}}"#);
    assert_eq!(answer.status, 400);
    assert!(answer.text().contains("height"));
    assert!(stage.metric("detector_api_rows_scored_total ") >= 4.0 * ROWS as f64);
}
