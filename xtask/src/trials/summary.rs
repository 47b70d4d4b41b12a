//! What came of all trials of a scenario, and whether it is what must be.

use std::collections::BTreeMap;

use serde::Serialize;

use super::scenario::{Must, Scenario};
use super::trial::Outcome;
use crate::lab::clients::Service;

/// From the onset until the first drop, at the median and in 99 of 100 trials, ms.
const FIRST_DROP_P50_MS: f64 = 250.0;
const FIRST_DROP_P99_MS: f64 = 500.0;
/// Share of the attack that must be dropped after the first drop.
const DROPPED_MIN: f64 = 0.95;
/// Share of the clients' requests that must be answered.
const SERVED_MIN: f64 = 0.99;

/// A time over several trials, ms. `None` is longer than any: it did not happen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(super) struct Spread {
    pub(super) p50_ms: Option<f64>,
    pub(super) p99_ms: Option<f64>,
}

/// The clients in one phase, over several trials.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(super) struct Served {
    pub(super) requests: usize,
    pub(super) answered: usize,
    /// Median over the trials.
    pub(super) page_ms_p50: f64,
    /// Median over the trials.
    pub(super) page_ms_p99: f64,
}

/// All trials of a scenario.
#[derive(Debug, Serialize)]
pub(super) struct Summary {
    pub(super) scenario: &'static str,
    /// Whether its packets are those that they ought to be, and not stand-ins.
    pub(super) genuine: bool,
    pub(super) trials: usize,
    /// Those with an alert.
    pub(super) alerted: usize,
    /// Those with an alert of the expected family.
    pub(super) family_named: usize,
    pub(super) expected_family: Option<&'static str>,
    pub(super) alert: Spread,
    pub(super) first_drop: Spread,
    /// Of the attack after the first drop, in the middle and at worst.
    pub(super) dropped_share_median: Option<f64>,
    pub(super) dropped_share_worst: Option<f64>,
    pub(super) before: Served,
    pub(super) during: Served,
    pub(super) after: Served,
    pub(super) false_verdicts: usize,
    pub(super) false_alerts: usize,
    /// Packets of clients that verdicts dropped.
    pub(super) client_packets_dropped: u64,
    pub(super) alerts: BTreeMap<String, usize>,
    pub(super) agent_cpu_median: f64,
    pub(super) checks: Vec<Check>,
}

/// Something that must hold.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Check {
    pub(super) holds: bool,
    pub(super) what: String,
}

impl Spread {
    fn of(times: impl Iterator<Item = Option<f64>>) -> Self {
        let mut times: Vec<f64> = times.map(|ms| ms.unwrap_or(f64::INFINITY)).collect();
        times.sort_by(f64::total_cmp);
        let at = |part| rank(&times, part).filter(|ms| ms.is_finite());
        Self {
            p50_ms: at(0.5),
            p99_ms: at(0.99),
        }
    }
}

impl Served {
    fn of<'a>(services: impl Iterator<Item = &'a Service> + Clone) -> Self {
        let median = |of: fn(&Service) -> f64| {
            let mut all: Vec<f64> = services.clone().map(of).collect();
            all.sort_by(f64::total_cmp);
            rank(&all, 0.5).unwrap_or_default()
        };
        Self {
            requests: services.clone().map(|service| service.requests).sum(),
            answered: services.clone().map(|service| service.answered).sum(),
            page_ms_p50: median(|service| service.page_ms_p50),
            page_ms_p99: median(|service| service.page_ms_p99),
        }
    }

    pub(super) fn share(&self) -> f64 {
        self.answered as f64 / self.requests.max(1) as f64
    }
}

/// The value that so great a part does not exceed (nearest rank).
fn rank(sorted: &[f64], part: f64) -> Option<f64> {
    let rank = (sorted.len() as f64 * part).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied()
}

impl Summary {
    pub(super) fn new(scenario: &Scenario, genuine: bool, outcomes: &[Outcome]) -> Self {
        let count = |what: fn(&Outcome) -> bool| outcomes.iter().filter(|one| what(one)).count();
        let mut shares: Vec<f64> = outcomes
            .iter()
            .filter_map(|one| one.dropped_share)
            .collect();
        shares.sort_by(f64::total_cmp);
        let mut cpu: Vec<f64> = outcomes.iter().map(|one| one.agent_cpu).collect();
        cpu.sort_by(f64::total_cmp);
        let mut alerts = BTreeMap::new();
        for (family, number) in outcomes.iter().flat_map(|one| &one.alerts) {
            *alerts.entry(family.clone()).or_default() += number;
        }
        let mut summary = Self {
            scenario: scenario.name,
            genuine,
            trials: outcomes.len(),
            alerted: count(|one| one.alert_ms.is_some()),
            family_named: count(|one| one.family_ms.is_some()),
            expected_family: scenario.family,
            alert: Spread::of(outcomes.iter().map(|one| one.alert_ms)),
            first_drop: Spread::of(outcomes.iter().map(|one| one.first_drop_ms)),
            dropped_share_median: rank(&shares, 0.5),
            dropped_share_worst: shares.first().copied(),
            before: Served::of(outcomes.iter().map(|one| &one.before)),
            during: Served::of(outcomes.iter().map(|one| &one.during)),
            after: Served::of(outcomes.iter().map(|one| &one.after)),
            false_verdicts: outcomes.iter().map(|one| one.false_verdicts.len()).sum(),
            false_alerts: outcomes.iter().map(|one| one.false_alerts.len()).sum(),
            client_packets_dropped: outcomes.iter().map(|one| one.client_packets_dropped).sum(),
            alerts,
            agent_cpu_median: rank(&cpu, 0.5).unwrap_or_default(),
            checks: Vec::new(),
        };
        summary.checks = summary.check(scenario.must);
        summary
    }

    /// Whether what must hold does.
    fn check(&self, must: Must) -> Vec<Check> {
        let check = |holds, what: String| Check {
            holds,
            what: format!("{}: {what}", self.scenario),
        };
        let mut checks = Vec::new();
        match must {
            Must::LeaveAlone => {}
            Must::Alert => checks.push(check(
                self.alerted == self.trials,
                format!("alerted in {} of {} trials", self.alerted, self.trials),
            )),
            Must::Drop => {
                let Spread { p50_ms, p99_ms } = self.first_drop;
                let within = |ms: Option<f64>, most| ms.is_some_and(|ms| ms <= most);
                checks.push(check(
                    within(p50_ms, FIRST_DROP_P50_MS) && within(p99_ms, FIRST_DROP_P99_MS),
                    format!(
                        "first drop {} after the onset at the median ({FIRST_DROP_P50_MS} ms at most), {} at p99 \
                         ({FIRST_DROP_P99_MS} ms at most)",
                        in_ms(p50_ms),
                        in_ms(p99_ms)
                    ),
                ));
                let worst = self.dropped_share_worst.unwrap_or(0.0);
                checks.push(check(
                    worst >= DROPPED_MIN,
                    format!(
                        "{:.2} % of the attack dropped after that, at worst",
                        worst * 100.0
                    ),
                ));
            }
        }
        if must != Must::Alert {
            let share = self.during.share();
            checks.push(check(
                share >= SERVED_MIN && self.during.requests > 0,
                format!(
                    "{:.2} % of the clients' requests answered ({} of {})",
                    share * 100.0,
                    self.during.answered,
                    self.during.requests
                ),
            ));
        }
        checks.push(check(
            self.false_verdicts == 0,
            format!("{} false verdicts", self.false_verdicts),
        ));
        // A flood that looks like clients may cost them a packet that they send again: whether they are served decides.
        if must != Must::Drop {
            let dropped = self.client_packets_dropped;
            checks.push(check(
                dropped == 0,
                format!("{dropped} packets of clients dropped"),
            ));
        }
        checks
    }
}

/// A time for people.
pub(super) fn in_ms(ms: Option<f64>) -> String {
    match ms {
        None => "never".to_owned(),
        Some(ms) if ms < 9.95 => format!("{ms:.1} ms"),
        Some(ms) if ms < 9_999.5 => format!("{ms:.0} ms"),
        Some(ms) => format!("{:.1} s", ms / 1000.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_did_not_happen_comes_last() {
        let times = (1..=98).map(|n| Some(f64::from(n)));
        let all = Spread::of(times.clone().chain([Some(99.0), None]));
        assert_eq!((all.p50_ms, all.p99_ms), (Some(50.0), Some(99.0)));
        let all = Spread::of(times.chain([None, None]));
        assert_eq!((all.p50_ms, all.p99_ms), (Some(50.0), None));
        assert_eq!(Spread::of([].into_iter()), Spread::default());
    }
}
