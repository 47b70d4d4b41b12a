//! Parquet tables of any numeric, text, Boolean or time columns.

use std::{fs::File, path::Path};

use arrow::{
    array::{Array, ArrayRef, AsArray as _, Float64Array, RecordBatch, StringArray},
    compute::cast,
    datatypes::{DataType, Float64Type, Int64Type},
};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::{
    Gathered, Place, TablesError,
    column::Cell,
    gather::{Own, Target},
};

/// Rows taken at a time.
const BATCH_ROWS: usize = 8192;

pub(super) fn read(
    path: &Path,
    gathered: &mut Gathered,
    progress: &dyn Fn(u64),
) -> Result<(), TablesError> {
    let failed = |cause: String| TablesError::Read {
        path: path.to_owned(),
        cause,
    };
    let file = File::open(path).map_err(|error| failed(error.to_string()))?;
    let builder = ParquetRecordBatchReaderBuilder::try_new(file)
        .map_err(|error| failed(error.to_string()))?;
    let header: Vec<String> = builder
        .schema()
        .fields()
        .iter()
        .map(|field| field.name().clone())
        .collect();
    let targets = gathered.targets(path, &header)?;
    let reader = builder
        .with_batch_size(BATCH_ROWS)
        .build()
        .map_err(|error| failed(error.to_string()))?;
    let mut line = 0;
    for batch in reader {
        let batch = batch.map_err(|error| failed(error.to_string()))?;
        take(path, &batch, &targets, line, gathered).map_err(failed)?;
        line += batch.num_rows() as u64;
        progress(batch.num_rows() as u64);
    }
    Ok(())
}

/// A column as numbers or as words.
enum Read {
    Numbers(Float64Array),
    Words(StringArray),
}

fn take(
    path: &Path,
    batch: &RecordBatch,
    targets: &[Target],
    line: u64,
    gathered: &mut Gathered,
) -> Result<(), String> {
    let rows = batch.num_rows();
    gathered.rows_read += rows as u64;
    let mut own = vec![
        Own {
            capture: gathered.file_capture(),
            time: f64::NAN,
            ..Own::default()
        };
        rows
    ];
    for (column, target) in batch.columns().iter().zip(targets) {
        match target {
            Target::Nowhere | Target::Feature(_) => {}
            Target::Time if is_time(column.data_type()) => {
                let ticks = whole(column)?;
                for (row, own) in own.iter_mut().enumerate() {
                    if !ticks.is_null(row) {
                        own.time = ticks.as_primitive::<Int64Type>().value(row) as f64;
                    }
                }
            }
            target => {
                let words = words(column)?;
                for (row, own) in own.iter_mut().enumerate() {
                    if !words.is_null(row) {
                        gathered.own(own, *target, words.value(row));
                    }
                }
            }
        }
    }
    let kept: Vec<usize> = (0..rows).filter(|&row| gathered.take(own[row])).collect();
    for (column, target) in batch.columns().iter().zip(targets) {
        let Target::Feature(place) = target else {
            continue;
        };
        let read = features(column)?;
        let into = &mut gathered.columns[*place];
        for &row in &kept {
            let cell = match &read {
                Read::Numbers(numbers) if numbers.is_null(row) => Cell::Missing,
                Read::Numbers(numbers) => Cell::Number(numbers.value(row)),
                Read::Words(words) if words.is_null(row) => Cell::Missing,
                Read::Words(words) => Cell::of(words.value(row)),
            };
            into.push(cell, || Place {
                path: path.to_owned(),
                line: line + row as u64 + 1,
            });
        }
    }
    Ok(())
}

fn is_time(of: &DataType) -> bool {
    matches!(
        of,
        DataType::Timestamp(..) | DataType::Date32 | DataType::Date64
    )
}

/// Ticks of a time.
fn whole(column: &ArrayRef) -> Result<ArrayRef, String> {
    let narrow = match column.data_type() {
        DataType::Date32 => cast(column, &DataType::Int32).map_err(|error| error.to_string())?,
        _ => column.clone(),
    };
    cast(&narrow, &DataType::Int64).map_err(|error| error.to_string())
}

fn words(column: &ArrayRef) -> Result<StringArray, String> {
    let text = cast(column, &DataType::Utf8).map_err(|error| error.to_string())?;
    Ok(text.as_string::<i32>().clone())
}

fn features(column: &ArrayRef) -> Result<Read, String> {
    let of = column.data_type();
    let numeric = of.is_numeric() || matches!(of, DataType::Boolean);
    let column = if is_time(of) || matches!(of, DataType::Duration(_) | DataType::Time64(_)) {
        &whole(column)?
    } else {
        column
    };
    if numeric || column.data_type() == &DataType::Int64 {
        let numbers = cast(column, &DataType::Float64).map_err(|error| error.to_string())?;
        return Ok(Read::Numbers(numbers.as_primitive::<Float64Type>().clone()));
    }
    match words(column) {
        Ok(words) => Ok(Read::Words(words)),
        // Lists, structures: nothing to learn from, and no reason to refuse the rest.
        Err(_) => Ok(Read::Numbers(Float64Array::new_null(column.len()))),
    }
}
