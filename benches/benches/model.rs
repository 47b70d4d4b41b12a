//! Training and scoring on a table drawn at random: `cargo bench -p detector-benches --bench
//! model`. Prints, writes nothing, and fails for nothing being slow.
//!
//! Arguments: rows (100,000 unless told), features (78), trees (100), depth (12).
use std::time::Instant;

use anyhow::Result;
use detector_user::{
    judge::Ranking,
    model::Ensemble,
    train::{ForestOptions, Schema, Table, predict, train_forest},
};

/// Times each row is scored; the quickest pass counts.
const PASSES: usize = 7;
/// Rows that are scored, and judged by.
const ROWS_HELD: usize = 20_000;
/// Features that the class depends on.
const INFORMATIVE: usize = 12;

fn main() -> Result<()> {
    // What `cargo test --benches` passes: measuring is no test.
    if std::env::args().any(|argument| argument == "--test") {
        return Ok(());
    }
    let numbers: Vec<usize> = std::env::args().filter_map(|a| a.parse().ok()).collect();
    let [rows, features, trees, depth_max] = [(0, 100_000), (1, 78), (2, 100), (3, 12)]
        .map(|(n, usual)| *numbers.get(n).unwrap_or(&usual));

    let table = table(rows + ROWS_HELD, features)?;
    let all = table.all_rows();
    let (learned, held) = all.split_at(rows);
    let options = ForestOptions {
        trees,
        depth_max,
        ..ForestOptions::default()
    };
    let (began, used) = (Instant::now(), cpu_seconds());
    let model = train_forest(&table, learned, &options, &|| ())?.ensemble;
    println!(
        "training {rows} × {features}, {trees} trees × depth {depth_max}: {:.2} s, {:.2} CPU s",
        began.elapsed().as_secs_f64(),
        cpu_seconds() - used
    );
    let scores = predict(&model, &table, held, 0)?;
    let judged = held.iter().zip(scores.chunks(2));
    let ranking =
        Ranking::new(judged.map(|(&row, p)| (table.labels()[row as usize] == 1, p[1], 1.0)));
    println!(
        "hold-out ROC-AUC: {:.4}",
        ranking.roc_auc().unwrap_or(f64::NAN)
    );

    let began = Instant::now();
    let bytes = model.to_bytes()?;
    let read = Ensemble::from_bytes(&bytes)?;
    println!(
        "{} nodes, {} bytes, written and read in {:.1} ms",
        read.nodes(),
        bytes.len(),
        began.elapsed().as_secs_f64() * 1e3
    );
    let mut values = vec![0.0; held.len() * features];
    for (&row, values) in held.iter().zip(values.chunks_mut(features)) {
        table.row(row as usize, values);
    }
    println!("score: {:.0} ns a row", score_ns(&read, &values));
    for values in values.chunks_mut(features) {
        values[features - 1] = f32::NAN;
    }
    println!(
        "score, a value missing: {:.0} ns a row",
        score_ns(&read, &values)
    );
    Ok(())
}

fn score_ns(model: &Ensemble, values: &[f32]) -> f64 {
    let mut probabilities = vec![0.0; model.classes()];
    let rows = values.chunks(model.features());
    // CPU time of this one thread: others on the machine may interrupt it.
    let pass = || {
        let began = cpu_seconds();
        for row in rows.clone() {
            model.score(std::hint::black_box(row), &mut probabilities);
            std::hint::black_box(&probabilities);
        }
        (cpu_seconds() - began) * 1e9 / rows.len() as f64
    };
    std::iter::repeat_with(pass)
        .take(PASSES)
        .fold(f64::INFINITY, f64::min)
}

/// Heavy-tailed columns; the class follows the products of neighbouring informative ones.
fn table(rows: usize, features: usize) -> Result<Table> {
    let mut state = 1_u64;
    let mut uniform = || {
        // Knuth's MMIX generator; its upper bits are good enough for a bench.
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1_u32 << 24) as f32
    };
    let mut columns: Vec<f32> = Vec::with_capacity(rows * features);
    let mut sums = vec![0.0_f32; rows];
    for feature in 0..features {
        // About normal: the sum of six.
        let column = (0..rows).map(|_| (0..6).map(|_| uniform()).sum::<f32>() - 3.0);
        columns.extend(column);
        if feature % 2 == 1 && feature < INFORMATIVE {
            let (first, second) = columns[(feature - 1) * rows..].split_at(rows);
            for (sum, (a, b)) in sums.iter_mut().zip(first.iter().zip(second)) {
                *sum += a * b + (a + b) / 4.0;
            }
        }
    }
    for value in &mut columns {
        *value = (*value * 3.0).sinh();
    }
    let labels = sums
        .iter()
        .map(|&sum| u16::from(sum + uniform() - 0.5 > 0.0))
        .collect();
    let schema = Schema {
        feature_set: "bench/1".to_owned(),
        features: (0..features).map(|n| n.to_string()).collect(),
        classes: vec!["normal".to_owned(), "attack".to_owned()],
    };
    Ok(Table::new(
        schema,
        columns,
        labels,
        vec![1.0; rows],
        vec![0; rows],
    )?)
}

fn cpu_seconds() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}
