//! What is attached already: whether it still hangs, how, and whether it can be used.

use detector_common::config::hook;

use super::Check;
use crate::wire::{
    clock::Clock,
    health::{self, Health, Standing},
    interface,
    pins::{PinError, Pins},
    tables::{Tables, TablesError},
};

const WHY: &str = "what hangs on no interface counts nothing and drops nothing";

pub(super) fn checks(pins: &Pins) -> Vec<Check> {
    let subject = "attached";
    let path = pins.root().display();
    let tables = match Tables::open(pins) {
        Ok(tables) => tables,
        Err(TablesError::Pin(PinError::NothingPinned { .. })) => {
            return vec![Check::ok(
                subject,
                format!("nothing is attached by way of {path}"),
                WHY,
            )];
        }
        Err(error) if error.is_permission() => {
            return vec![
                Check::ok(subject, error.to_string(), WHY)
                    .denied("run as root, or give access to the pins"),
            ];
        }
        Err(error) => {
            return vec![
                Check::ok(subject, error.to_string(), WHY)
                    .fail("`detector detach` removes what is pinned; then attach again"),
            ];
        }
    };
    let mut checks: Vec<Check> = health::standings(pins, &tables, &interface::list())
        .iter()
        .filter(|standing| standing.health != Health::Detached)
        .map(standing)
        .collect();
    if checks.is_empty() {
        checks.push(Check::ok(
            subject,
            format!("maps are pinned at {path}, and hang on no interface"),
            WHY,
        ));
    }
    checks.push(clock(pins));
    checks
}

fn standing(standing: &Standing) -> Check {
    let name = &standing.name;
    let kind = match standing.entry.ingress {
        hook::GENERIC => "generic",
        hook::NATIVE => "native",
        _ => "not attached",
    };
    let egress = crate::wire::attach::hook_name(standing.entry.egress);
    let renamed = standing
        .renamed
        .as_ref()
        .map(|now| format!(", now called {now}"))
        .unwrap_or_default();
    let found = format!(
        "{}: ingress {kind}, egress {egress}{renamed}",
        standing.health.name()
    );
    let check = Check::ok(format!("{name} attached"), found, WHY);
    match (&standing.health, standing.health.complaint(name)) {
        (Health::Elsewhere, Some(complaint)) => Check {
            found: format!("{}; {complaint}", check.found),
            ..check
        },
        (Health::Gone, Some(complaint)) => check.warn(complaint),
        (_, Some(complaint)) => check.fail(complaint),
        (_, None) if standing.entry.ingress == hook::GENERIC => check
            .warn("generic XDP is slow: see what the driver check says, detach and attach again"),
        (_, None) => check,
    }
}

fn clock(pins: &Pins) -> Check {
    let check = Check::ok(
        "pinned clock",
        "runs",
        "verdicts expire in the kernel's own time, which only it can tell",
    );
    match Clock::open(pins).and_then(|clock| clock.now()) {
        Ok(_) => check,
        Err(error) => {
            let permission = error.is_permission();
            let check = Check {
                found: error.to_string(),
                ..check
            }
            .fail("`detector detach` and attach again makes another");
            Check {
                permission,
                ..check
            }
        }
    }
}
