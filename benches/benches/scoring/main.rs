//! Scoring of models of other libraries, beside those libraries: `benches/fixtures/scoring.sh`, which makes the workloads, and
//! then runs `cargo bench -p detector-benches --bench scoring --features peers -- DIRECTORY [MODEL…]`. Prints, writes nothing,
//! and fails for nothing being slow.
//!
//! Each figure is CPU time of this one thread, ns a row: the quickest of several passes over the rows in batches of 1, 64
//! and 1,024. How far the scores of all that are measured differ is told, too.

#[cfg(feature = "peers")]
mod peers;

use std::path::Path;

use anyhow::{Context as _, Result};
use detector_user::model::{
    Ensemble, Scratch,
    import::{self, Naming},
};

/// Rows of a batch.
const BATCHES: [usize; 3] = [1, 64, 1024];
/// The quickest of so many passes counts.
const PASSES: usize = 5;

/// What all are measured with.
#[derive(Clone, Copy)]
struct Workload<'a> {
    model: &'static str,
    /// Rows × features.
    rows: &'a [f32],
    features: usize,
}

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args()
        .skip(1)
        .filter(|a| a != "--bench")
        .collect();
    let [directory, wanted @ ..] = &arguments[..] else {
        // What `cargo test --benches` passes: measuring is no test.
        println!("scoring: name the directory that benches/fixtures/scoring.sh makes");
        return Ok(());
    };
    for workload in ["syn", "cic"] {
        let directory = Path::new(directory).join(workload);
        if !directory.exists() {
            println!("{} is not there", directory.display());
            continue;
        }
        println!(
            "\n{workload:<12} {:<14} {:>10} {:>10} {:>10}  scores differ by",
            "scorer", "1", "64", "1024"
        );
        for (model, file) in [
            ("lightgbm", "lightgbm.txt"),
            ("xgboost", "xgboost.ubj"),
            ("forest", "forest.onnx"),
            ("isolation", "isolation.onnx"),
        ] {
            if wanted.is_empty() || wanted.iter().any(|wanted| wanted == model) {
                measure(&directory, model, file)?;
            }
        }
    }
    Ok(())
}

fn measure(directory: &Path, model: &'static str, file: &str) -> Result<()> {
    let bytes = std::fs::read(directory.join(file)).context(file.to_owned())?;
    let ensemble = import::read(&bytes, None, false)?.compile(Naming::default(), None, &bytes)?;
    let bytes = std::fs::read(directory.join("rows.f32")).context("rows.f32")?;
    let (values, _) = bytes.as_chunks::<4>();
    let rows: Vec<f32> = values
        .iter()
        .map(|bytes| f32::from_le_bytes(*bytes))
        .collect();
    let workload = Workload {
        model,
        rows: &rows,
        features: ensemble.features(),
    };
    let ours = own(workload, &ensemble);
    #[cfg(feature = "peers")]
    peers::measure(workload, directory, file, &ours)?;
    let _ = ours;
    Ok(())
}

/// This project's scores, two a row, and how long they take.
fn own(workload: Workload<'_>, ensemble: &Ensemble) -> Vec<f32> {
    let (features, classes) = (workload.features, ensemble.classes());
    let count = workload.rows.len() / features;
    let mut scores = vec![0.0; count * classes];
    let mut scratch = Scratch::default();
    let times = BATCHES.map(|batch| {
        quickest(count, || {
            let batches = workload
                .rows
                .chunks(batch * features)
                .zip(scores.chunks_mut(batch * classes));
            for (rows, scores) in batches {
                if batch == 1 {
                    ensemble.score(std::hint::black_box(rows), scores);
                } else {
                    ensemble.score_rows(std::hint::black_box(rows), scores, &mut scratch);
                }
            }
        })
    });
    tell(workload, "detector", times, 0.0);
    scores
}

fn tell(workload: Workload<'_>, scorer: &str, times: [f64; 3], far: f32) {
    let [one, some, many] = times.map(|time| {
        if time.is_nan() {
            "-".to_owned()
        } else {
            format!("{time:.0}")
        }
    });
    let model = workload.model;
    println!("{model:<12} {scorer:<14} {one:>10} {some:>10} {many:>10}  {far:e}");
}

/// ns a row of the quickest pass.
fn quickest(rows: usize, mut pass: impl FnMut()) -> f64 {
    let times = (0..PASSES).map(|_| {
        let began = cpu_seconds();
        pass();
        (cpu_seconds() - began) * 1e9 / rows as f64
    });
    times.fold(f64::INFINITY, f64::min)
}

fn cpu_seconds() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}
