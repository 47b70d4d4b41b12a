//! What an attachment has to tell, and how.

use comfy_table::Cell;
use detector_common::config::hook;
use serde::Serialize;

use super::super::{
    failure::Failure,
    features,
    report::{self, Report},
};
use crate::wire::attach::{Attached, Mode, Request, hook_name};

/// What happened, as it is told.
#[derive(Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(in super::super) enum Told {
    Attached {
        interface: String,
        index: u32,
        ingress: &'static str,
        egress: &'static str,
        replaced: bool,
        native_refused: Option<String>,
        burst_clock_refused: Option<String>,
        left_out: Vec<&'static str>,
    },
    Refused {
        interface: String,
        error: String,
    },
    Replaced {
        interfaces: Vec<String>,
        flow_slots: u32,
        verdict_slots: u32,
        verdicts_carried: usize,
    },
    Floor {
        prefixes: usize,
        added: usize,
    },
    Gone {
        interface: String,
        index: u32,
    },
}

/// What there is to tell of an attachment; what the user must not miss goes to stderr.
pub(super) fn tell_attached(attached: &Attached, request: &Request) -> Told {
    let name = &attached.interface.name;
    let generic = attached.ingress == hook::GENERIC;
    if let Some(reason) = &attached.native_refused {
        report::warn(&format!(
            "{name} is attached in GENERIC mode, which is several times SLOWER: native XDP was refused: \
             {reason}. `detector doctor -i {name}` says what its driver can do; --mode native fails instead"
        ));
    } else if attached.replaced && generic && request.mode != Mode::Generic {
        report::warn(&format!(
            "{name} was attached in GENERIC mode, which is several times SLOWER, and stays so: its programs \
             were swapped in place. To try native XDP, `detector detach -i {name} --keep-maps` and attach again"
        ));
    } else if attached.replaced && !generic && request.mode == Mode::Generic {
        report::warn(&format!(
            "{name} was attached in native mode and stays so: its programs were swapped in place. For generic \
             mode, `detector detach -i {name} --keep-maps` and attach again"
        ));
    }
    if let Some(reason) = &attached.burst_clock_refused {
        report::warn(&format!(
            "{name}: each packet reads the clock, which costs a busy flow's packet up to half as much again: {reason}"
        ));
    }
    Told::Attached {
        interface: name.clone(),
        index: attached.interface.index,
        ingress: hook_name(attached.ingress),
        egress: hook_name(attached.egress),
        replaced: attached.replaced,
        native_refused: attached.native_refused.clone(),
        burst_clock_refused: attached.burst_clock_refused.clone(),
        left_out: features::left_out(attached.features),
    }
}

pub(super) fn show(report: &mut Report, told: &[Told]) -> Result<(), Failure> {
    if !report.is_table() {
        return Ok(report.items(told)?);
    }
    for one in told {
        if let Told::Replaced {
            interfaces,
            flow_slots,
            verdict_slots,
            verdicts_carried,
        } = one
        {
            let interfaces = if interfaces.is_empty() {
                "no interface".to_owned()
            } else {
                interfaces.join(", ")
            };
            report.line(&format!(
                "replaced the maps under {interfaces}: {} and {}, {} carried over",
                report::several((*flow_slots).into(), "flow slot"),
                report::several((*verdict_slots).into(), "verdict slot"),
                report::several(*verdicts_carried as u64, "verdict")
            ))?;
        }
    }
    let mut table = report::table(&["INTERFACE", "INDEX", "INGRESS", "EGRESS", "LEFT OUT", ""]);
    let mut rows = 0;
    for one in told {
        let Told::Attached {
            interface,
            index,
            ingress,
            egress,
            replaced,
            left_out,
            ..
        } = one
        else {
            continue;
        };
        rows += 1;
        table.add_row(vec![
            Cell::new(interface),
            Cell::new(index),
            if *ingress == "generic" {
                report::notable(ingress)
            } else {
                Cell::new(ingress)
            },
            Cell::new(egress),
            Cell::new(if left_out.is_empty() {
                "-".to_owned()
            } else {
                left_out.join(",")
            }),
            Cell::new(if *replaced {
                "programs swapped"
            } else {
                "attached"
            }),
        ]);
    }
    if rows > 0 {
        report::align(&mut table, &[1]);
        report.table(&table)?;
    }
    for one in told {
        match one {
            Told::Floor { prefixes, added } => report.line(&format!(
                "never to be blocked: this host, its gateways and resolvers and this session, \
                 {} prefixes, {added} of them new",
                prefixes
            ))?,
            Told::Gone { interface, index } => {
                report.line(&format!(
                    "{interface} (index {index}) is gone; its pins are cleared away"
                ))?;
            }
            Told::Attached { .. } | Told::Refused { .. } | Told::Replaced { .. } => {}
        }
    }
    Ok(())
}
