//! What is seen at one moment, as lines of text: the same for a screen and for a dumb terminal.

use serde_json::Value;

use crate::cli::client::{Client, ClientError};
use crate::output::{printable, units};

/// What the lower part shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum View {
    /// Flows.
    #[default]
    Flows,
    /// Verdicts.
    Verdicts,
    /// Alerts.
    Alerts,
}

/// The orders of flows, as the API names them.
pub(super) const SORTS: [&str; 4] = ["packets", "bytes", "last", "duration"];

/// A moment.
#[derive(Clone, Debug, Default)]
pub(super) struct Look {
    pub(super) status: Value,
    pub(super) flows: Value,
    pub(super) verdicts: Value,
    pub(super) alerts: Value,
}

impl Look {
    /// Asks the agent for what a view shows.
    pub(super) fn take(client: &Client, view: View, sort: &str) -> Result<Self, ClientError> {
        let mut look = Self {
            status: client.get("/api/v1/status")?,
            ..Self::default()
        };
        match view {
            View::Flows => {
                look.flows = client.get(&format!("/api/v1/flows?sort={sort}&limit=500"))?
            }
            View::Verdicts => look.verdicts = client.get("/api/v1/verdicts")?,
            View::Alerts => look.alerts = client.get("/api/v1/alerts?limit=500")?,
        }
        Ok(look)
    }

    fn number(&self, pointer: &str) -> u64 {
        self.status
            .pointer(pointer)
            .and_then(Value::as_u64)
            .unwrap_or(0)
    }

    /// Packets seen, and dropped by any verdict.
    pub(super) fn packets(&self) -> (u64, u64) {
        let dropped = ["address", "prefix", "flow", "signature"]
            .map(|kind| self.number(&format!("/plane/books/fates/dropped_{kind}/packets")));
        (
            self.number("/plane/books/seen/packets"),
            dropped.iter().sum(),
        )
    }

    /// What stands above every view.
    pub(super) fn head(&self, rates: Option<(f64, f64)>) -> Vec<String> {
        let text = |pointer: &str| {
            let value = self.status.pointer(pointer).and_then(Value::as_str);
            value.unwrap_or("none").to_owned()
        };
        let n = |pointer: &str| units::grouped(self.number(pointer));
        let mode = match text("/mode").as_str() {
            "enforce" => "enforcing".to_owned(),
            _ => "monitoring: nothing is dropped".to_owned(),
        };
        let (seen, dropped) = self.packets();
        let rates = rates.map_or_else(String::new, |(seen, dropped)| {
            format!("; {seen:.0}/s seen, {dropped:.0}/s dropped")
        });
        let mut lines = vec![
            format!(
                "detector {}  {mode}  model {}  {}",
                text("/version"),
                text("/model"),
                self.drift(),
            ),
            format!(
                "packets {} seen, {} dropped{rates}",
                units::grouped(seen),
                units::grouped(dropped)
            ),
            format!(
                "flows {} of {}; {} sources denied, {} destinations attacked; {} verdicts; tick {} µs, {} late",
                n("/plane/table/live"),
                n("/plane/table/capacity"),
                n("/agent/denied_sources"),
                n("/agent/attacked_destinations"),
                n("/plane/verdicts/total"),
                n("/agent/tick_us"),
                n("/agent/late_ticks"),
            ),
        ];
        let complaints = self.status["complaints"].as_array();
        let complaints = complaints.into_iter().flatten().filter_map(Value::as_str);
        lines.extend(complaints.map(|text| format!("! {}", printable(text))));
        lines
    }

    /// Whether traffic still looks like what the model was trained on.
    fn drift(&self) -> String {
        let drift = &self.status["drift"];
        let state = drift["state"].as_str().unwrap_or("unknown");
        let psi = drift["score_psi"].as_f64();
        let psi = psi.map_or_else(String::new, |psi| format!(" (PSI {psi:.2})"));
        let top = drift["top"].as_array().filter(|_| state == "drifted");
        let moved: Vec<&str> = (top.into_iter().flatten())
            .filter_map(|one| one["feature"].as_str())
            .take(3)
            .collect();
        let moved = if moved.is_empty() {
            String::new()
        } else {
            format!(": {}", moved.join(", "))
        };
        format!("drift {state}{psi}{}", printable(&moved))
    }

    /// The titles of a view's columns.
    pub(super) fn titles(view: View) -> &'static [&'static str] {
        match view {
            View::Flows => &["FROM", "TO", "PROTOCOL", "STATE", "PACKETS", "BYTES"],
            View::Verdicts => &["TARGET", "ACTION", "EXPIRES (UTC)", "DROPPED", "REASON"],
            View::Alerts => &["TIME (UTC)", "FAMILY", "ACTION", "FROM", "TO", "REASON"],
        }
    }

    /// The rows of a view that a filter's text is in, each with what it is about.
    pub(super) fn rows(&self, view: View, filter: &str) -> Vec<(Vec<String>, Value)> {
        let (list, row): (&Value, fn(&Value) -> Vec<String>) = match view {
            View::Flows => (&self.flows["flows"], flow),
            View::Verdicts => (&self.verdicts["verdicts"], verdict),
            View::Alerts => (&self.alerts, alert),
        };
        let items = list.as_array().into_iter().flatten();
        items
            .map(|item| (row(item), item.clone()))
            .filter(|(cells, _)| {
                filter.is_empty() || cells.iter().any(|cell| cell.contains(filter))
            })
            .collect()
    }
}

/// Text from elsewhere, without what would move a terminal's cursor.
fn text(value: &Value) -> String {
    match value {
        Value::String(text) => printable(text).to_string(),
        Value::Null => "-".to_owned(),
        value => value.to_string(),
    }
}

fn end(address: &Value, port: &Value, pod: &Value) -> String {
    let end = match (address, port) {
        (Value::Null, _) => "many".to_owned(),
        (address, Value::Null) => text(address),
        (address, port) => format!("{}:{port}", text(address)),
    };
    with_pod(end, pod)
}

/// A pod's name is put behind its address.
fn with_pod(address: String, pod: &Value) -> String {
    match pod {
        Value::String(_) => format!("{address} {}", text(pod)),
        _ => address,
    }
}

/// The clock of a time stamp.
fn clock(value: &Value) -> String {
    let text = text(value);
    text.get(11..19).unwrap_or(&text).to_owned()
}

fn flow(flow: &Value) -> Vec<String> {
    let sum = |one: &str| {
        let n = |side: &str| flow[format!("{side}_{one}")].as_u64().unwrap_or(0);
        n("forward") + n("backward")
    };
    let number = flow["protocol"].as_u64().and_then(|n| u8::try_from(n).ok());
    vec![
        end(
            &flow["source_address"],
            &flow["source_port"],
            &flow["source_pod"],
        ),
        end(
            &flow["destination_address"],
            &flow["destination_port"],
            &flow["destination_pod"],
        ),
        number.map_or_else(String::new, crate::enforce::target::protocol_name),
        text(&flow["state"]),
        units::grouped(sum("packets")),
        units::bytes(sum("bytes")),
    ]
}

fn verdict(verdict: &Value) -> Vec<String> {
    let expires = match &verdict["expires"] {
        Value::Null => "never".to_owned(),
        time => clock(time),
    };
    vec![
        with_pod(text(&verdict["target"]), &verdict["pod"]),
        text(&verdict["action"]),
        expires,
        units::grouped(verdict["dropped_packets"].as_u64().unwrap_or(0)),
        text(&verdict["reason"]),
    ]
}

fn alert(alert: &Value) -> Vec<String> {
    let detector = &alert["detector"];
    vec![
        clock(&alert["timestamp"]),
        text(&detector["family"]),
        text(&detector["action"]),
        end(&alert["src_ip"], &alert["src_port"], &detector["src_pod"]),
        end(
            &alert["dest_ip"],
            &alert["dest_port"],
            &detector["dest_pod"],
        ),
        text(&detector["reason"]),
    ]
}
