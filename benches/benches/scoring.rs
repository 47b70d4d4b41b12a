//! Scoring of models of other libraries, beside those libraries: `benches/fixtures/syn.sh`, which makes the models, and
//! then runs `cargo bench -p detector-benches --bench scoring --features peers -- DIRECTORY [MODEL…]`. Prints, writes nothing, and
//! fails for nothing being slow.
//!
//! Each figure is CPU time of this one thread, ns a row: the quickest of several passes over 20,000 rows in batches of 1,
//! 64 and 1,024. Scores of all that are measured are compared too.

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
/// Values of a row.
const FEATURES: usize = 78;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args()
        .skip(1)
        .filter(|a| a != "--bench")
        .collect();
    let [directory, wanted @ ..] = &arguments[..] else {
        // What `cargo test --benches` passes: measuring is no test.
        println!("scoring: name the directory that benches/fixtures/syn.sh makes");
        return Ok(());
    };
    let directory = Path::new(directory);
    let bytes = std::fs::read(directory.join("rows.f32")).context("rows.f32")?;
    let (values, _) = bytes.as_chunks::<4>();
    let rows: Vec<f32> = values
        .iter()
        .map(|bytes| f32::from_le_bytes(*bytes))
        .collect();
    println!(
        "{:<12} {:<14} {:>10} {:>10} {:>10}",
        "model", "scorer", "1", "64", "1024"
    );
    for (model, file) in [
        ("lightgbm", "lightgbm.txt"),
        ("xgboost", "xgboost.ubj"),
        ("forest", "forest.onnx"),
        ("isolation", "isolation.onnx"),
    ] {
        if !wanted.is_empty() && wanted.iter().all(|wanted| wanted != model) {
            continue;
        }
        let bytes = std::fs::read(directory.join(file)).context(file)?;
        let ensemble =
            import::read(&bytes, None, false)?.compile(Naming::default(), None, &bytes)?;
        let ours = own(model, &ensemble, &rows);
        #[cfg(feature = "peers")]
        peers::measure(model, file, directory, &rows, &ours)?;
        let _ = ours;
    }
    Ok(())
}

/// This project's scores, and how long they take.
fn own(model: &str, ensemble: &Ensemble, rows: &[f32]) -> Vec<f32> {
    let classes = ensemble.classes();
    let mut scores = vec![0.0; rows.len() / FEATURES * classes];
    let mut scratch = Scratch::default();
    let times = BATCHES.map(|batch| {
        let pass = || {
            let batches = rows
                .chunks(batch * FEATURES)
                .zip(scores.chunks_mut(batch * classes));
            for (rows, scores) in batches {
                if batch == 1 {
                    ensemble.score(std::hint::black_box(rows), scores);
                } else {
                    ensemble.score_rows(std::hint::black_box(rows), scores, &mut scratch);
                }
            }
        };
        quickest(rows.len() / FEATURES, pass)
    });
    tell(model, "detector", times);
    scores
}

fn tell(model: &str, scorer: &str, times: [f64; 3]) {
    let [one, some, many] = times.map(|time| {
        if time.is_nan() {
            "-".to_owned()
        } else {
            format!("{time:.0}")
        }
    });
    println!("{model:<12} {scorer:<14} {one:>10} {some:>10} {many:>10}");
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

#[cfg(feature = "peers")]
mod peers {
    use std::{
        path::{Path, PathBuf},
        sync::OnceLock,
    };

    use anyhow::{Context as _, Result};
    use hessboost::model::{BoostedModel, Iterations, ModelFormat};
    use ort::{environment::Environment, session::Session, value::TensorRef};

    use super::{BATCHES, FEATURES, quickest, tell};

    /// Rows that are scored one by one by what takes a millisecond a call.
    const ROWS_SLOW: usize = 256;

    /// Every peer that has the model.
    pub(super) fn measure(
        model: &str,
        file: &str,
        directory: &Path,
        rows: &[f32],
        ours: &[f32],
    ) -> Result<()> {
        let onnx = directory.join(format!("{model}.onnx"));
        if let (true, Ok(library)) = (onnx.exists(), std::env::var("ORT_DYLIB_PATH")) {
            onnx_runtime(model, &onnx, &PathBuf::from(library), rows, ours)?;
        }
        let format = match model {
            "lightgbm" => ModelFormat::LightgbmText,
            "xgboost" => ModelFormat::XgboostUbjson,
            _ => return Ok(()),
        };
        hess(model, &directory.join(file), format, rows, ours)
    }

    /// The one environment of the process.
    fn environment(library: &Path) -> Result<&'static Environment> {
        static ENVIRONMENT: OnceLock<Environment> = OnceLock::new();
        if let Some(environment) = ENVIRONMENT.get() {
            return Ok(environment);
        }
        let environment = ort::init_from(library)?.build()?;
        Ok(ENVIRONMENT.get_or_init(|| environment))
    }

    fn onnx_runtime(
        model: &str,
        file: &Path,
        library: &Path,
        rows: &[f32],
        ours: &[f32],
    ) -> Result<()> {
        let mut session = Session::builder(environment(library)?)?
            .with_intra_threads(1)
            .map_err(|error| anyhow::anyhow!("{error}"))?
            .commit_from_file(file)?;
        // Isolation forests answer with labels, decisions and scores, the others with labels and probabilities.
        let isolation = model == "isolation";
        let mut far = 0.0_f32;
        let times = BATCHES.map(|batch| {
            let slow = isolation && batch == 1;
            let count = if slow {
                ROWS_SLOW
            } else {
                rows.len() / FEATURES
            };
            let rows = &rows[..count * FEATURES];
            let mut run = |place: usize, rows: &[f32]| -> Result<()> {
                let shape = [rows.len() / FEATURES, FEATURES];
                let outputs =
                    session.run(ort::inputs![TensorRef::from_array_view((shape, rows))?])?;
                let (_, scores) =
                    outputs[if isolation { 2 } else { 1 }].try_extract_tensor::<f32>()?;
                let first = if isolation {
                    1.0 + scores[0]
                } else {
                    scores[0]
                };
                far = far.max((first - ours[place * batch * 2]).abs());
                Ok(())
            };
            quickest(count, || {
                for (place, rows) in rows.chunks(batch * FEATURES).enumerate() {
                    if let Err(error) = run(place, rows) {
                        panic!("{error}");
                    }
                }
            })
        });
        tell(model, "ONNX Runtime", times);
        println!("{model:<12} ONNX Runtime's scores differ by {far:e}");
        Ok(())
    }

    fn hess(
        model: &str,
        file: &Path,
        format: ModelFormat,
        rows: &[f32],
        ours: &[f32],
    ) -> Result<()> {
        let boosted = BoostedModel::load(file, format).context("hessboost")?;
        let mut far = 0.0_f32;
        let times = BATCHES.map(|batch| {
            quickest(rows.len() / FEATURES, || {
                for (place, rows) in rows.chunks(batch * FEATURES).enumerate() {
                    if batch == 1 {
                        let mut p = [0.0];
                        let done = boosted.predict_row_into(rows, Iterations::Best, &mut p);
                        assert!(done.is_ok());
                        std::hint::black_box(p);
                    } else if let Ok(p) = boosted.predict_rows(rows, Iterations::Best) {
                        far = far.max((p.as_slice()[0] - ours[place * batch * 2 + 1]).abs());
                    }
                }
            })
        });
        tell(model, "hessboost", times);
        println!("{model:<12} hessboost's scores differ by {far:e}");
        Ok(())
    }
}
