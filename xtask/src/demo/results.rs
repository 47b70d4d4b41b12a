//! The table at the end, and what it must say.

use comfy_table::{CellAlignment, Table, presets};

use super::act::{Outcome, Phase, milliseconds};
use super::detector::{Books, Verdict};
use super::say;
use crate::lab::CLIENT;
use crate::lab::client::{Client, Service};

/// Share of an attack that must be dropped once the verdict is written.
const DROPPED_MIN: f64 = 0.95;
/// Share of the client's requests that must be answered while a verdict is in force.
const SERVED_MIN: f64 = 0.99;

const HEADER: [&str; 11] = [
    "ATTACK", "PHASE", "SECONDS", "SENT", "DROPPED", "%", "THROUGH", "SERVED", "MEDIAN", "P99", "",
];
/// Columns of numbers.
const RIGHT: std::ops::Range<usize> = 2..10;

/// What the columns mean.
const LEGEND: &str = "
The attack's packets: SENT, DROPPED by the verdict, and come THROUGH to the server by the flow table. (Packets that were
under way while the counters were read are in neither.) The client's requests: SERVED of all, and their latency.
";

/// Everything that came of the demonstration.
pub(super) struct Results {
    outcomes: Vec<(Outcome, Vec<Service>)>,
    books: Books,
    /// Verdicts on the client.
    false_verdicts: usize,
    /// What `detach` left.
    left: Vec<String>,
}

impl Results {
    /// To be made when the client has ended, so that no answer is awaited any more.
    pub(super) fn new(
        outcomes: Vec<Outcome>,
        client: &Client,
        books: Books,
        verdicts: &[Verdict],
        left: Vec<String>,
    ) -> Self {
        let on_client = verdicts
            .iter()
            .filter(|verdict| verdict.kind == "address" && verdict.target == CLIENT.to_string())
            .count();
        let ordered = outcomes
            .iter()
            .filter(|outcome| outcome.false_verdict)
            .count();
        let outcomes = outcomes.into_iter().map(|outcome| {
            let services = outcome
                .phases
                .iter()
                .map(|phase| client.service(phase.from, phase.to));
            let services = services.collect();
            (outcome, services)
        });
        Self {
            outcomes: outcomes.collect(),
            books,
            false_verdicts: on_client.max(ordered),
            left,
        }
    }

    pub(super) fn show(&self) {
        let mut table = Table::new();
        table.load_style(presets::NOTHING).set_header(HEADER);
        for (outcome, services) in &self.outcomes {
            for (n, (phase, service)) in outcome.phases.iter().zip(services).enumerate() {
                let name = if n == 0 { outcome.attack.name } else { "" };
                table.add_row(row(name, outcome, phase, service));
            }
        }
        for (number, column) in table.column_iter_mut().enumerate() {
            column.set_padding((0, 2));
            if RIGHT.contains(&number) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        say(LEGEND);
        for line in table.lines() {
            say(line.trim_end());
        }
    }

    /// What must hold, each with whether it does.
    pub(super) fn checks(&self) -> Vec<(bool, String)> {
        let mut checks = Vec::new();
        for (outcome, services) in &self.outcomes {
            let share = outcome.dropped_share();
            checks.push((
                share >= DROPPED_MIN,
                format!(
                    "{}: found, and {:.2} % of it dropped from the first drop on",
                    outcome.attack.name,
                    share * 100.0
                ),
            ));
            let enforced = outcome
                .phases
                .iter()
                .zip(services)
                .filter(|(phase, _)| phase.name == "enforced");
            for (_, service) in enforced {
                checks.push((
                    service.share() >= SERVED_MIN && service.requests > 0,
                    format!(
                        "{}: client served meanwhile: {}",
                        outcome.attack.name,
                        served(service)
                    ),
                ));
            }
            if let Some(passed) = outcome.passed_expired {
                let dropped: u64 = outcome
                    .phases
                    .iter()
                    .filter(|phase| phase.name == "expired")
                    .map(|phase| phase.dropped)
                    .sum();
                checks.push((
                    passed > 0 && dropped == 0,
                    format!(
                        "{}: the verdict expired by itself, and traffic passed again",
                        outcome.attack.name
                    ),
                ));
            }
        }
        checks.push((
            self.false_verdicts == 0,
            format!("{} verdicts on the client", self.false_verdicts),
        ));
        checks.push((
            self.books.are_exact(),
            format!(
                "conservation: {} packets and {} bytes seen, {} and {} of them unaccounted for ({})",
                self.books.seen.packets,
                self.books.seen.bytes,
                self.books.difference_packets,
                self.books.difference_bytes,
                self.books.balance
            ),
        ));
        let left = if self.left.is_empty() {
            "detached: no pin and no program is left".to_owned()
        } else {
            format!("left by `detector detach`: {}", self.left.join(", "))
        };
        checks.push((self.left.is_empty(), left));
        checks
    }
}

fn row(name: &str, outcome: &Outcome, phase: &Phase, service: &Service) -> [String; 11] {
    let note = match phase.name {
        "watched" => format!("found {} after the onset", milliseconds(outcome.found)),
        "enforced" => format!(
            "first drop {} after the order",
            milliseconds(outcome.first_drop)
        ),
        "expired" => "the verdict's time to live is over".to_owned(),
        _ => String::new(),
    };
    let through = match phase.name {
        "enforced" => outcome.let_through.to_string(),
        "expired" => format!(">= {}", outcome.passed_expired.unwrap_or(0)),
        _ => "-".to_owned(),
    };
    let share = phase.dropped as f64 / phase.sent.max(1) as f64 * 100.0;
    let attacked = |text: String| {
        if phase.sent == 0 {
            "-".to_owned()
        } else {
            text
        }
    };
    [
        name.to_owned(),
        phase.name.to_owned(),
        format!("{:.1}", (phase.to - phase.from).as_secs_f64()),
        attacked(phase.sent.to_string()),
        attacked(phase.dropped.to_string()),
        attacked(format!("{share:.2}")),
        through,
        format!("{}/{}", service.answered, service.requests),
        milliseconds(service.median),
        milliseconds(service.p99),
        note,
    ]
}

fn served(service: &Service) -> String {
    format!(
        "{}/{} ({:.1} %)",
        service.answered,
        service.requests,
        service.share() * 100.0
    )
}
