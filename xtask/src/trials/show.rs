//! What came of the trials, for a person.

use std::fmt::Write as _;

use comfy_table::{CellAlignment, Table, presets};

use super::say;
use super::summary::{Served, Spread, Summary, in_ms};
use super::trial::Outcome;

const HEADER: [&str; 12] = [
    "SCENARIO", "TRIALS", "ALERT", "p99", "DROP", "p99", "DROPPED", "SERVED %", "MS p50", "MS p99",
    "FALSE", "ALERTS",
];
/// Columns of numbers.
const RIGHT: std::ops::Range<usize> = 1..11;

/// What the columns mean.
const LEGEND: &str = "
ALERT, DROP: from the attack's first packet on the wire to the first alert and to the first dropped packet; median and
p99 over the trials. DROPPED: share of the attack's packets dropped from then on, in the worst trial. SERVED: the
clients' requests that were answered before, during and after the attack, and MS the time their pages took. FALSE:
verdicts / alerts on clients, or with no attack about / packets of clients that were dropped. ALERTS: all, by family;
(!) where the expected family was not named in every trial.
";

/// What happened in one trial.
pub(super) fn tell(outcome: &Outcome) {
    let mut lines = Vec::new();
    if let Some(alert) = &outcome.first_alert {
        lines.push(format!("{:>9}  alert: {alert}", in_ms(outcome.alert_ms)));
    }
    if outcome.first_drop_ms.is_some() {
        let drop = in_ms(outcome.first_drop_ms);
        let share = outcome.dropped_share.map(|share| share * 100.0);
        let share = share.map_or("nothing came after it".to_owned(), |share| {
            format!("{share:.2} % of what came after it was dropped")
        });
        lines.push(format!("{drop:>9}  first drop; {share}"));
    }
    if outcome.attack_packets > 0 {
        lines.push(format!(
            "{:>9}  the attack is over: {} packets of it on the wire, {} came through",
            in_ms(Some(outcome.attack_ms)),
            outcome.attack_packets,
            outcome.attack_packets_passed
        ));
        if outcome.alert_ms.is_none() {
            lines.push(format!("{:>9}  alert", "NEVER"));
        }
    }
    let phases = [
        ("before", &outcome.before),
        ("during", &outcome.during),
        ("after", &outcome.after),
    ];
    let phases = phases.map(|(name, service)| {
        format!(
            "{name} {}/{} (p99 {})",
            service.answered,
            service.requests,
            in_ms(Some(service.page_ms_p99))
        )
    });
    lines.push(format!("{:>9}  clients served: {}", "", phases.join(", ")));
    for verdict in &outcome.verdicts {
        lines.push(format!("{:>9}  verdict: {verdict}", ""));
    }
    for note in &outcome.notes {
        lines.push(format!("{:>9}  {note}", ""));
    }
    if outcome.client_packets_dropped > 0 {
        let dropped = outcome.client_packets_dropped;
        lines.push(format!("{:>9}  {dropped} packets of CLIENTS dropped", ""));
    }
    for wrong in &outcome.false_verdicts {
        lines.push(format!("{:>9}  FALSE VERDICT: {wrong}", ""));
    }
    for wrong in &outcome.false_alerts {
        lines.push(format!("{:>9}  FALSE ALERT: {wrong}", ""));
    }
    for line in lines {
        say(&format!("  {line}"));
    }
}

pub(super) fn table(summaries: &[Summary]) {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(HEADER);
    for summary in summaries {
        table.add_row(row(summary));
    }
    for (number, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, 2));
        if RIGHT.contains(&number) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    let mut text = LEGEND.to_owned();
    for line in table.lines() {
        let _ = write!(text, "\n{}", line.trim_end());
    }
    let crafted: Vec<&str> = summaries
        .iter()
        .filter(|summary| !summary.genuine)
        .map(|summary| summary.scenario)
        .collect();
    if !crafted.is_empty() {
        let _ = write!(
            text,
            "\n\nThe captures are not there, crafted packets stood in for them: {}.",
            crafted.join(", ")
        );
    }
    say(&text);
}

fn row(summary: &Summary) -> [String; 12] {
    let short = |ms: Option<f64>| match (summary.expected_family, ms) {
        (None, _) => "-".to_owned(),
        (_, ms) => in_ms(ms),
    };
    let of = |Spread { p50_ms, p99_ms }: Spread| (short(p50_ms), short(p99_ms));
    let (alert, alert_p99) = of(summary.alert);
    let (first_drop, first_drop_p99) = of(summary.first_drop);
    let phases = [summary.before, summary.during, summary.after];
    let each = |what: fn(&Served) -> String| phases.each_ref().map(what).join(" ");
    [
        summary.scenario.to_owned(),
        summary.trials.to_string(),
        alert,
        alert_p99,
        first_drop,
        first_drop_p99,
        summary
            .dropped_share_worst
            .map_or("-".to_owned(), |share| format!("{:.2} %", share * 100.0)),
        each(|served| format!("{:.1}", served.share() * 100.0)),
        each(|served| number(served.page_ms_p50)),
        each(|served| number(served.page_ms_p99)),
        format!(
            "{}/{}/{}",
            summary.false_verdicts, summary.false_alerts, summary.client_packets_dropped
        ),
        families(summary),
    ]
}

fn number(ms: f64) -> String {
    if ms < 9.95 {
        format!("{ms:.1}")
    } else {
        format!("{ms:.0}")
    }
}

fn families(summary: &Summary) -> String {
    let all = summary.alerts.iter();
    let mut text: Vec<String> = all.map(|(family, n)| format!("{family} {n}")).collect();
    if let Some(family) = summary.expected_family
        && summary.family_named < summary.trials
    {
        text.push(format!("(!) {family} in {}", summary.family_named));
    }
    if text.is_empty() {
        return "none".to_owned();
    }
    text.join(", ")
}

/// What must hold, and whether it does; how much of it does not.
pub(super) fn checks(summaries: &[Summary]) -> usize {
    let mut failed = 0;
    say("");
    for check in summaries.iter().flat_map(|summary| &summary.checks) {
        failed += usize::from(!check.holds);
        let mark = if check.holds { "ok    " } else { "FAILED" };
        say(&format!("  {mark} {}", check.what));
    }
    failed
}
