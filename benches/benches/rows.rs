//! The bare scorer, one thread: `cargo bench -p detector-benches --bench rows -- MODEL ROWS`. Prints rows a second of CPU time, the quickest of
//! several passes over the rows (32-bit numbers, one row after the other), and fails for nothing being slow. `benches/load/run.sh` calls it.

use std::{fs, hint::black_box};

use anyhow::{Context as _, Result};
use detector_user::model::{Ensemble, Scratch};

const PASSES: usize = 9;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args()
        .skip(1)
        .filter(|argument| argument != "--bench")
        .collect();
    let [model, rows] = &arguments[..] else {
        // What `cargo test --benches` passes: measuring is no test.
        println!("rows: name a model file and a file of rows");
        return Ok(());
    };
    let ensemble = Ensemble::from_bytes(&fs::read(model).context("the model")?)?;
    let bytes = fs::read(rows).context("the rows")?;
    let (values, _) = bytes.as_chunks::<4>();
    let rows: Vec<f32> = values.iter().map(|one| f32::from_le_bytes(*one)).collect();
    let count = rows.len() / ensemble.features();
    let rows = &rows[..count * ensemble.features()];
    let mut scores = vec![0.0; count * ensemble.classes()];
    let mut scratch = Scratch::default();
    let passes = (0..PASSES).map(|_| {
        let began = cpu_seconds();
        ensemble.score_rows(black_box(rows), &mut scores, &mut scratch);
        black_box(&scores);
        cpu_seconds() - began
    });
    let quickest = passes.fold(f64::INFINITY, f64::min);
    println!("{:.0}", count as f64 / quickest);
    Ok(())
}

fn cpu_seconds() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}
