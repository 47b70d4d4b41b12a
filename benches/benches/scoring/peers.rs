//! What the bench `scoring` measures beside this project's own scorer.

use std::{
    path::{Path, PathBuf},
    sync::OnceLock,
};

use anyhow::{Context as _, Result};
use hessboost::model::{BoostedModel, Iterations, ModelFormat};
use libloading::{Library, Symbol};
use ort::{environment::Environment, session::Session, value::TensorRef};

use super::{BATCHES, Workload, quickest, tell};

/// Rows that are scored one by one by what takes a millisecond a call.
const ROWS_SLOW: usize = 256;

/// Every peer that has the model.
pub(super) fn measure(
    workload: Workload<'_>,
    directory: &Path,
    file: &str,
    ours: &[f32],
) -> Result<()> {
    let has = |kind: &str| {
        let path = directory.join(format!("{}.{kind}", workload.model));
        path.exists().then_some(path)
    };
    if let (Some(onnx), Ok(library)) = (has("onnx"), std::env::var("ORT_DYLIB_PATH")) {
        onnx_runtime(workload, &onnx, &PathBuf::from(library), ours)?;
    }
    if let Some(library) = has("tl2cgen.so") {
        tl2cgen(workload, &library, ours)?;
    }
    if let Some(library) = has("lleaves.so") {
        lleaves(workload, &library, ours)?;
    }
    let format = match workload.model {
        "lightgbm" => ModelFormat::LightgbmText,
        "xgboost" => ModelFormat::XgboostUbjson,
        _ => return Ok(()),
    };
    hess(workload, &directory.join(file), format, ours)
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

fn onnx_runtime(workload: Workload<'_>, file: &Path, library: &Path, ours: &[f32]) -> Result<()> {
    let features = workload.features;
    let mut session = Session::builder(environment(library)?)?
        .with_intra_threads(1)
        .map_err(|error| anyhow::anyhow!("{error}"))?
        .commit_from_file(file)?;
    // Isolation forests answer with labels, decisions and scores, the others with labels and probabilities.
    let isolation = workload.model == "isolation";
    let mut far = 0.0_f32;
    let times = BATCHES.map(|batch| {
        let slow = isolation && batch == 1;
        let count = if slow {
            ROWS_SLOW
        } else {
            workload.rows.len() / features
        };
        let rows = &workload.rows[..count * features];
        let mut run = |place: usize, rows: &[f32]| -> Result<()> {
            let shape = [rows.len() / features, features];
            let outputs = session.run(ort::inputs![TensorRef::from_array_view((shape, rows))?])?;
            let (_, scores) = outputs[if isolation { 2 } else { 1 }].try_extract_tensor::<f32>()?;
            let first = if isolation {
                1.0 + scores[0]
            } else {
                scores[0]
            };
            far = far.max((first - ours[place * batch * 2]).abs());
            Ok(())
        };
        quickest(count, || {
            for (place, rows) in rows.chunks(batch * features).enumerate() {
                if let Err(error) = run(place, rows) {
                    panic!("{error}");
                }
            }
        })
    });
    tell(workload, "ONNX Runtime", times, far);
    Ok(())
}

fn hess(workload: Workload<'_>, file: &Path, format: ModelFormat, ours: &[f32]) -> Result<()> {
    let features = workload.features;
    let boosted = BoostedModel::load(file, format).context("hessboost")?;
    let mut far = 0.0_f32;
    let times = BATCHES.map(|batch| {
        quickest(workload.rows.len() / features, || {
            for (place, rows) in workload.rows.chunks(batch * features).enumerate() {
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
    tell(workload, "hessboost", times, far);
    Ok(())
}

/// A row's last score as one of a library's functions gives it, and the same for every batch: these take a row at a time.
fn row_by_row<T: Copy>(
    workload: Workload<'_>,
    scorer: &str,
    rows: &[T],
    ours: &[f32],
    score: impl Fn(&[T]) -> f32,
) {
    let mut far = 0.0_f32;
    let time = quickest(workload.rows.len() / workload.features, || {
        let ours = ours.chunks_exact(2);
        for (row, ours) in rows.chunks_exact(workload.features).zip(ours) {
            // An isolation forest has one score, which is that of the anomaly.
            let score = score(std::hint::black_box(row));
            far = far.max((score - ours[1]).abs());
        }
    });
    tell(workload, scorer, [time; 3], far);
}

/// TL2cgen's C. Rows lie ready as it wants them: of doubles where the model has thresholds of doubles.
fn tl2cgen(workload: Workload<'_>, file: &Path, ours: &[f32]) -> Result<()> {
    type Predict<T> = unsafe extern "C" fn(*const T, i32, *mut T);
    // XGBoost computes in single precision, the others in double.
    let single = workload.model == "xgboost";
    let classes = if workload.model == "forest" { 2 } else { 1 };
    // SAFETY: a library that this bench's script made; loading it runs nothing.
    let library = unsafe { Library::new(file)? };
    if single {
        // SAFETY: as TL2cgen declares it.
        let predict: Symbol<Predict<f32>> = unsafe { library.get(b"predict")? };
        row_by_row(workload, "TL2cgen", workload.rows, ours, |row| {
            let mut scores = [0.0_f32; 2];
            // SAFETY: a row of all features, and room for every class.
            unsafe { predict(row.as_ptr(), 0, scores.as_mut_ptr()) };
            scores[classes - 1]
        });
    } else {
        // SAFETY: as above.
        let predict: Symbol<Predict<f64>> = unsafe { library.get(b"predict")? };
        let rows: Vec<f64> = workload.rows.iter().map(|x| f64::from(*x)).collect();
        row_by_row(workload, "TL2cgen", &rows, ours, |row| {
            let mut scores = [0.0_f64; 2];
            // SAFETY: as above.
            unsafe { predict(row.as_ptr(), 0, scores.as_mut_ptr()) };
            scores[classes - 1] as f32
        });
    }
    Ok(())
}

/// What lleaves compiled, on rows of doubles that lie ready.
fn lleaves(workload: Workload<'_>, file: &Path, ours: &[f32]) -> Result<()> {
    type Predict = unsafe extern "C" fn(*const f64, *mut f64, i32, i32);
    let features = workload.features;
    // SAFETY: a library that this bench's script made; loading it runs nothing.
    let library = unsafe { Library::new(file)? };
    // SAFETY: as lleaves declares it.
    let predict: Symbol<Predict> = unsafe { library.get(b"forest_root")? };
    let rows: Vec<f64> = workload.rows.iter().map(|x| f64::from(*x)).collect();
    let mut scores = vec![0.0; rows.len() / features];
    let times = BATCHES.map(|batch| {
        quickest(scores.len(), || {
            for (rows, scores) in rows.chunks(batch * features).zip(scores.chunks_mut(batch)) {
                // SAFETY: so many rows of all features, and room for a score of each.
                unsafe { predict(rows.as_ptr(), scores.as_mut_ptr(), 0, scores.len() as i32) };
            }
        })
    });
    let far = scores.iter().zip(ours.chunks_exact(2));
    let far = far.fold(0.0_f32, |far, (a, b)| far.max((*a as f32 - b[1]).abs()));
    tell(workload, "lleaves", times, far);
    Ok(())
}
