//! More rows of rare classes, made between those there are (Chawla et al., "SMOTE", 2002).

use super::{
    random::Random,
    table::{Table, TableError},
};

/// Neighbours among which one is chosen.
const NEIGHBOURS: usize = 5;
/// Rows of a class among which neighbours are sought: more cost time in their square.
const CANDIDATES_MAX: usize = 2_000;

/// A table of the given rows and as many more of each class as make it as large as the largest, but at most `growth_max`
/// times what it was. A new row lies at random between a row and one of its five nearest of the same class, by values over
/// the standard deviations of all; of columns that hold words' numbers, and where either value is missing, it has the
/// first row's. A class of one row stays as it is.
///
/// # Errors
/// [`TableError`] where the table grows too large.
pub fn smote(
    table: &Table,
    rows: &[u32],
    is_word: &[bool],
    growth_max: usize,
    seed: u64,
) -> Result<Table, TableError> {
    let scales = scales(table, rows);
    let mut of_class = vec![Vec::new(); table.classes()];
    for &row in rows {
        of_class[usize::from(table.labels()[row as usize])].push(row);
    }
    let largest = of_class.iter().map(Vec::len).max().unwrap_or(0);
    // Base, neighbour, how far from the one to the other.
    let mut made: Vec<(u32, u32, f32)> = Vec::new();
    for (class, members) in of_class.iter().enumerate() {
        if members.len() < 2 {
            continue;
        }
        let wanted = largest.min(members.len() * growth_max);
        let mut random = Random::new(seed, class as u64);
        let step = members.len().div_ceil(CANDIDATES_MAX).max(1);
        let candidates: Vec<u32> = members.iter().copied().step_by(step).collect();
        let mut near: Vec<Option<Vec<u32>>> = vec![None; members.len()];
        for _ in members.len()..wanted {
            let place = random.below(members.len());
            let base = members[place];
            let near = near[place]
                .get_or_insert_with(|| nearest(table, base, &candidates, &scales, is_word));
            if near.is_empty() {
                continue;
            }
            let other = near[random.below(near.len())];
            let share = random.below(1 << 24) as f32 / (1_u32 << 24) as f32;
            made.push((base, other, share));
        }
    }
    let count = rows.len() + made.len();
    let mut columns = Vec::with_capacity(count * table.features());
    for (feature, word) in is_word.iter().enumerate() {
        let column = table.column(feature);
        columns.extend(rows.iter().map(|&row| column[row as usize]));
        columns.extend(made.iter().map(|&(base, other, share)| {
            let (a, b) = (column[base as usize], column[other as usize]);
            if *word || a.is_nan() || b.is_nan() {
                a
            } else {
                a + (b - a) * share
            }
        }));
    }
    let both = || rows.iter().copied().chain(made.iter().map(|made| made.0));
    Table::new(
        table.schema().clone(),
        columns,
        both().map(|row| table.labels()[row as usize]).collect(),
        both().map(|row| table.weights()[row as usize]).collect(),
        both().map(|row| table.groups()[row as usize]).collect(),
    )
}

/// One over the standard deviation, by feature; 0 where there is none.
fn scales(table: &Table, rows: &[u32]) -> Vec<f64> {
    let of = |feature: usize| {
        let column = table.column(feature);
        let values = || {
            rows.iter()
                .map(|&row| f64::from(column[row as usize]))
                .filter(|x| x.is_finite())
        };
        let count = values().count().max(1) as f64;
        let mean = values().sum::<f64>() / count;
        let variance = values().map(|x| (x - mean).powi(2)).sum::<f64>() / count;
        if variance > 0.0 {
            1.0 / variance.sqrt()
        } else {
            0.0
        }
    };
    (0..table.features()).map(of).collect()
}

fn nearest(
    table: &Table,
    base: u32,
    candidates: &[u32],
    scales: &[f64],
    is_word: &[bool],
) -> Vec<u32> {
    let mut distances = vec![0.0_f64; candidates.len()];
    for (feature, scale) in scales.iter().enumerate() {
        if *scale == 0.0 {
            continue;
        }
        let column = table.column(feature);
        let x = column[base as usize];
        for (distance, &other) in distances.iter_mut().zip(candidates) {
            let y = column[other as usize];
            *distance += match (x.is_nan(), y.is_nan()) {
                (true, true) => 0.0,
                (false, false) if is_word[feature] => f64::from(u8::from(x != y)),
                (false, false) => (f64::from(x - y) * scale).powi(2),
                _ => 1.0,
            };
        }
    }
    let mut order: Vec<(f64, u32)> = (distances.into_iter().zip(candidates.iter().copied()))
        .filter(|(_, other)| *other != base)
        .collect();
    order.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    order.truncate(NEIGHBOURS);
    order.into_iter().map(|(_, other)| other).collect()
}
