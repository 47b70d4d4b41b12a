//! Features: what a model sees of a flow. Two sets make a row: [`flow`] and [`hosts`].
//!
//! Addresses are never features, and ports only as classes.

pub mod extractor;
pub mod flow;
pub mod hosts;
pub mod ports;
pub mod ways;
pub mod window;

use std::sync::LazyLock;

use detector_common::{periods::Periods, record::FlowRecord};
use hosts::Surroundings;

/// What a row is of: a model names the set that it was trained on, and is refused where it is another.
pub const SET: &str = "flow/1+host/1";

/// Features of a row.
pub const COUNT: usize = flow::FEATURES.len() + hosts::NAMES.len();

/// The names of a row's features, in their order.
pub static NAMES: LazyLock<Vec<&'static str>> = LazyLock::new(|| {
    let flow = flow::FEATURES.iter().map(|feature| feature.name);
    flow.chain(hosts::NAMES.iter().copied()).collect()
});

/// A row of features.
pub type Row = [f32; COUNT];

/// Fills the part of a row that one flow alone tells.
pub fn fill_flow(row: &mut Row, record: &FlowRecord, periods: Option<&Periods>) {
    let mut places = row.iter_mut();
    flow::compute(record, periods, |value| {
        if let Some(place) = places.next() {
            *place = value as f32;
        }
    });
}

/// Fills the part of a row that its surroundings tell.
pub fn fill_surroundings(row: &mut Row, around: &Surroundings) {
    let mut places = row[flow::FEATURES.len()..].iter_mut();
    around.features(|value| {
        if let Some(place) = places.next() {
            *place = value;
        }
    });
}

/// The name of the feature that a column of a published table holds, however the table spells it.
#[must_use]
pub fn of_column(column: &str) -> Option<&'static str> {
    let column = column.trim();
    let same = |other: &&str| other.eq_ignore_ascii_case(column);
    let known = NAMES.iter().find(|name| same(name)).copied();
    known.or_else(|| {
        let mut features = flow::FEATURES.iter();
        features
            .find(|feature| feature.columns.iter().any(same))
            .map(|feature| feature.name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_there_once() {
        let mut names = NAMES.clone();
        assert_eq!(names.len(), COUNT);
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), COUNT);
        assert_eq!(of_column(" Tot Fwd Pkts "), Some("fwd_packets"));
        assert_eq!(of_column("Src IP"), None);
    }

    #[test]
    fn a_row_is_filled_to_its_end() {
        let mut row = [f32::NAN; COUNT];
        let record = FlowRecord::default();
        fill_flow(&mut row, &record, None);
        let around = hosts::Hosts::default().around(&ways::Ends::of(&record), 0);
        fill_surroundings(&mut row, &around);
        assert!(row.iter().all(|value| value.is_finite()), "{row:?}");
    }
}
