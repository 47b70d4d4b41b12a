//! Golden rows from a CSV file: the source's columns by name, and `score:CLASS` for each class.

use std::io::Read;

/// What a column of scores begins with.
const SCORE: &str = "score:";

/// Why golden rows cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum GoldenError {
    /// The file cannot be read as CSV.
    #[error("reading golden rows: {0}")]
    Csv(#[from] csv::Error),
    /// A column is not there.
    #[error(
        "golden rows have no column `{0}`; write a column for each of the model's features and one `score:CLASS` for each class"
    )]
    Column(String),
    /// A cell is no number.
    #[error(
        "golden rows: column `{column}` of line {line} is no number: {cell:?}; leave missing values empty"
    )]
    Cell {
        /// The line, the first being 1.
        line: usize,
        /// Its name.
        column: String,
        /// What it has.
        cell: String,
    },
}

/// Rows (rows × features, empty cells and `nan` as NaN) and scores (rows × classes).
///
/// # Errors
/// [`GoldenError`].
pub fn golden_rows(
    file: impl Read,
    features: &[String],
    classes: &[String],
) -> Result<(Vec<f32>, Vec<f32>), GoldenError> {
    let mut reader = csv::Reader::from_reader(file);
    let header = reader.headers()?.clone();
    let find = |name: String| {
        let place = header.iter().position(|column| column.trim() == name);
        place
            .map(|place| (place, name.clone()))
            .ok_or(GoldenError::Column(name))
    };
    let inputs: Result<Vec<_>, _> = features.iter().map(|name| find(name.clone())).collect();
    let scores = classes.iter().map(|class| find(format!("{SCORE}{class}")));
    let (inputs, scores) = (inputs?, scores.collect::<Result<Vec<_>, _>>()?);
    let (mut rows, mut of_rows) = (Vec::new(), Vec::new());
    for (number, record) in reader.records().enumerate() {
        let record = record?;
        for (columns, values) in [(&inputs, &mut rows), (&scores, &mut of_rows)] {
            for (place, name) in columns {
                let cell = record.get(*place).unwrap_or("").trim();
                let value = if cell.is_empty() {
                    Ok(f32::NAN)
                } else {
                    cell.parse()
                };
                values.push(value.map_err(|_| GoldenError::Cell {
                    line: number + 2,
                    column: name.clone(),
                    cell: cell.to_owned(),
                })?);
            }
        }
    }
    Ok((rows, of_rows))
}
