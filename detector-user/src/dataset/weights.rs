//! What a row weighs in training and judging.
//!
//! Rows of one capture say much the same: a flood from 37,000 spoofed sources is one thing seen 37,000 times. So within a
//! class a group counts as the logarithm of its flows, which they share; and a flow counts as the root of its rows.

use std::collections::HashMap;

/// What a row belongs to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Membership {
    pub(super) class: u16,
    pub(super) group: u32,
    /// Number of its flow: unique among the files.
    pub(super) flow: u64,
}

/// A weight a row; their mean is 1.
pub(super) fn weigh(rows: &[Membership]) -> Vec<f32> {
    let mut of_flow: HashMap<u64, u32> = HashMap::new();
    for row in rows {
        *of_flow.entry(row.flow).or_default() += 1;
    }
    let in_flow = |row: &Membership| 1.0 / f64::from(of_flow[&row.flow]).sqrt();
    // Flows are counted by the shares of their rows, which are whole numbers of a flow only where none was dropped.
    let mut of_group: HashMap<(u16, u32), (f64, f64)> = HashMap::new();
    for row in rows {
        let (flows, sum) = of_group.entry((row.class, row.group)).or_default();
        *flows += 1.0 / f64::from(of_flow[&row.flow]);
        *sum += in_flow(row);
    }
    let of_row = |row: &Membership| {
        let (flows, sum) = of_group[&(row.class, row.group)];
        flows.ln_1p() * in_flow(row) / sum
    };
    let raw: Vec<f64> = rows.iter().map(of_row).collect();
    let mean = raw.iter().sum::<f64>() / raw.len().max(1) as f64;
    raw.iter().map(|weight| (weight / mean) as f32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_one_packet_flows_does_not_drown_the_rest() {
        let row = |class, group, flow| Membership { class, group, flow };
        let mut rows: Vec<Membership> = (0..10_000).map(|flow| row(1, 0, flow)).collect();
        rows.extend((10_000..10_010).map(|flow| row(1, 1, flow)));
        // One flow seen nine times beside one seen once.
        rows.extend([row(0, 2, 20_000); 9]);
        rows.push(row(0, 2, 20_001));
        let weights = weigh(&rows);
        let sum = |range: std::ops::Range<usize>| weights[range].iter().sum::<f32>();
        let all = sum(0..rows.len());
        assert!((all / rows.len() as f32 - 1.0).abs() < 1e-3, "{all}");
        let ratio = sum(0..10_000) / sum(10_000..10_010);
        assert!((3.0..5.0).contains(&ratio), "{ratio}");
        let ratio = sum(10_010..10_019) / weights[10_019];
        assert!((2.9..3.1).contains(&ratio), "{ratio}");
    }
}
