//! What the model found in each flow, by its way: kept for whoever tells of flows when they are over.

use detector_common::record::FlowRecord;

use crate::decide::family::Family;

/// What the model found in a flow: of all looks at it the one with the highest probability.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Finding {
    /// The family.
    pub family: Family,
    /// Its probability.
    pub score: f32,
}

/// One memory for each way of the flow table.
#[derive(Default)]
pub struct Findings {
    /// When the flow began, plus one, that it was found in.
    noted: Vec<(u64, Option<Finding>)>,
}

impl Findings {
    /// Notes what was found in the flow that has this way.
    pub fn note(&mut self, way: u32, record: &FlowRecord, finding: Finding) {
        let way = way as usize;
        if way >= self.noted.len() {
            self.noted.resize(way + 1, (0, None));
        }
        let (mark, noted) = &mut self.noted[way];
        let same = *mark == record.first_us + 1;
        if !same || noted.is_none_or(|before| before.score < finding.score) {
            (*mark, *noted) = (record.first_us + 1, Some(finding));
        }
    }

    /// What was found in the flow that has this way.
    #[must_use]
    pub fn of(&self, way: u32, record: &FlowRecord) -> Option<Finding> {
        let (mark, noted) = self.noted.get(way as usize)?;
        noted.filter(|_| *mark == record.first_us + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_likeliest_is_kept_and_the_next_flow_of_the_way_begins_anew() {
        let record = |first_us| FlowRecord {
            first_us,
            ..FlowRecord::default()
        };
        let finding = |family, score| Finding { family, score };
        let mut findings = Findings::default();
        assert_eq!(findings.of(3, &record(0)), None);
        for (family, score) in [
            (Family::Scan, 0.7),
            (Family::Flood, 0.9),
            (Family::Scan, 0.8),
        ] {
            findings.note(3, &record(5), finding(family, score));
        }
        assert_eq!(
            findings.of(3, &record(5)),
            Some(finding(Family::Flood, 0.9))
        );
        assert_eq!(findings.of(3, &record(6)), None, "another flow");
        assert_eq!(findings.of(2, &record(5)), None, "another way");
        findings.note(3, &record(6), finding(Family::Scan, 0.6));
        assert_eq!(findings.of(3, &record(6)), Some(finding(Family::Scan, 0.6)));
    }
}
