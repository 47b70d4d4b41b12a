//! `/api/v1/flows`.

use std::{cmp::Reverse, collections::BinaryHeap, str::FromStr, sync::Arc};

use axum::{
    extract::State,
    http::header,
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use utoipa::IntoParams;

use super::{
    Shared,
    body::{self, Params},
    plane::Opened,
    problem::Problem,
    shapes,
};
use crate::{
    agent::live::{epoch_us, monotonic_ns},
    drain::reader::Which,
    enforce::target::protocol,
    flow::{Flow, FlowFilter, State as FlowState},
    kubernetes::PodNames,
    output::flow_object,
};

/// Flows of one answer, at most.
const LIMIT_MAX: usize = 10_000;

/// Which flows, in which order.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Query {
    /// `packets` (the default), `bytes`, `duration`, `first` or `last`; the most, longest or latest first.
    #[param(schema_with = shapes::sort)]
    sort: Option<String>,
    /// At most so many, up to 10000; the default is 50.
    #[param(maximum = 10000)]
    limit: Option<usize>,
    /// Only from or to this address or prefix.
    address: Option<String>,
    /// Only those that this address or prefix began.
    source: Option<String>,
    /// Only those toward this address or prefix.
    destination: Option<String>,
    /// Only with this port, or one of this range, on either side.
    port: Option<String>,
    /// Only of this IP protocol, by name or number.
    protocol: Option<String>,
    /// Only in this state: `new`, `answered`, `established` or `closed`.
    #[param(schema_with = shapes::state)]
    state: Option<String>,
}

pub(super) type Key = fn(&Flow) -> u64;

pub(super) const SORTS: [(&str, Key); 5] = [
    ("packets", Flow::packets),
    ("bytes", Flow::bytes),
    ("duration", |flow| flow.record.last_us.into()),
    ("first", Flow::first_unix_us),
    ("last", Flow::last_unix_us),
];
pub(super) const STATES: [FlowState; 4] = [
    FlowState::New,
    FlowState::Answered,
    FlowState::Established,
    FlowState::Closed,
];

struct Wanted {
    key: Key,
    limit: usize,
    filter: FlowFilter,
    state: Option<FlowState>,
}

fn one<T: FromStr>(name: &'static str, text: Option<&str>) -> Result<Vec<T>, Problem>
where
    T::Err: std::fmt::Display,
{
    text.map(|text| text.parse().map_err(|error| wrong(name, &error)))
        .into_iter()
        .collect()
}

fn wrong(name: &str, error: &dyn std::fmt::Display) -> Problem {
    let detail = format!("{name}: {error}");
    Problem::bad_request(
        "a parameter means nothing here",
        detail,
        "mend it and ask again",
    )
}

impl Query {
    fn wanted(&self) -> Result<Wanted, Problem> {
        let sort = self.sort.as_deref().unwrap_or(SORTS[0].0);
        let key = SORTS.iter().find(|(name, _)| *name == sort);
        let (_, key) = key.ok_or_else(|| {
            let names = SORTS.map(|(name, _)| name).join(", ");
            wrong("sort", &format!("{sort:?}, allowed is one of {names}"))
        })?;
        let state = self.state.as_deref().map(|text| {
            let state = STATES.into_iter().find(|state| state.name() == text);
            state.ok_or_else(|| {
                let names = STATES.map(FlowState::name).join(", ");
                wrong("state", &format!("{text:?}, allowed is one of {names}"))
            })
        });
        let protocol = self
            .protocol
            .as_deref()
            .map(|text| protocol(text).map_err(|error| wrong("protocol", &error)));
        let limit = body::limit(self.limit, 50, LIMIT_MAX)?;
        Ok(Wanted {
            key: *key,
            limit,
            filter: FlowFilter {
                address: one("address", self.address.as_deref())?,
                source: one("source", self.source.as_deref())?,
                destination: one("destination", self.destination.as_deref())?,
                port: one("port", self.port.as_deref())?,
                protocol: protocol.transpose()?.into_iter().collect(),
            },
            state: state.transpose()?,
        })
    }
}

impl Wanted {
    /// One pass over the table; the first flows in order are kept, and no more.
    fn read(&self, opened: &Opened, pods: &PodNames) -> String {
        let epoch_us = epoch_us(monotonic_ns());
        let mut matched = 0u64;
        let mut first: BinaryHeap<Reverse<(u64, u32)>> = BinaryHeap::new();
        let mut kept: std::collections::HashMap<u32, Flow> = std::collections::HashMap::new();
        let tables = &opened.tables;
        let pass = tables.scan(Which::Live, |snapshot| {
            let periods = tables.periods_of(snapshot);
            let flow = Flow::new(&snapshot.record, periods.as_ref(), epoch_us);
            if !self.filter.takes(&flow) || self.state.is_some_and(|state| state != flow.state()) {
                return;
            }
            matched += 1;
            let place = ((self.key)(&flow), snapshot.way);
            if first.len() == self.limit {
                match first.peek() {
                    Some(Reverse(least)) if *least < place => {
                        kept.remove(&least.1);
                        first.pop();
                    }
                    _ => return,
                }
            }
            first.push(Reverse(place));
            kept.insert(snapshot.way, flow);
        });
        let order = first.into_sorted_vec();
        let objects: Vec<String> = order
            .iter()
            .filter_map(|Reverse((_, way))| kept.get(way).map(|flow| object(flow, pods)))
            .collect();
        format!(
            "{{\"live\":{},\"established\":{},\"capacity\":{},\"matched\":{matched},\"flows\":[{}]}}",
            pass.flows,
            pass.protected,
            tables.records.len(),
            objects.join(",")
        )
    }
}

/// A flow's object, with the names of pods where there are any.
fn object(flow: &Flow, pods: &PodNames) -> String {
    let mut text = flow_object(flow);
    for (name, address) in [
        ("source_pod", flow.source()),
        ("destination_pod", flow.destination()),
    ] {
        if let Some(pod) = pods.of(address) {
            text.pop();
            // Displaying a Value is serialization: it quotes and escapes.
            let pod = serde_json::Value::from(&*pod);
            text.push_str(&format!(",\"{name}\":{pod}}}"));
        }
    }
    text
}

/// The live flow table: `live`, `established`, `capacity`, `matched`, and `flows` with the columns of `detector flows -o json`;
/// `source_pod` and `destination_pod` where they are pods of this node, and pods are named
#[utoipa::path(get, path = "/api/v1/flows", params(Query), responses(
    (status = 200, body = Object),
    (status = 400, body = Problem, content_type = "application/problem+json"),
    (status = 503, body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn flows(
    State(shared): State<Arc<Shared>>,
    Params(query): Params<Query>,
) -> Result<Response, Problem> {
    let wanted = query.wanted()?;
    let pods = shared.published.pods.clone();
    let body = shared
        .plane
        .run(move |opened| Ok(wanted.read(opened, &pods)))
        .await?;
    Ok(([(header::CONTENT_TYPE, "application/json")], body).into_response())
}
