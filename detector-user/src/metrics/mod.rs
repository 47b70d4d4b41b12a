//! Metrics: each defined once ([`definitions`]); what is scraped and docs/metrics.md come from there.

pub mod definitions;
pub mod tallies;

use std::sync::Arc;

use prometheus::{
    Encoder as _, TextEncoder,
    proto::{Bucket, Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType},
};

use crate::{
    cli::status::gather::Status, drift::Drift, privilege::Held, score::Scorer,
    serve::published::AgentView,
};
use definitions::{DEFINITIONS, Definition, Kind, Value};
use tallies::{BOUNDS_US, Tallies};

/// What metrics are read from.
pub struct Reading<'a> {
    /// The data plane, where there is one.
    pub(crate) plane: Option<&'a Status>,
    /// The agent.
    pub agent: &'a AgentView,
    /// What it may do.
    pub held: &'a Held,
    /// The model in force.
    pub model: Option<Arc<Scorer>>,
    /// Whether traffic still looks like what it was trained on.
    pub drift: &'a Drift,
    /// What the agent's loop counts.
    pub tallies: &'a Tallies,
    /// Events lost on their way to followers.
    pub stream_lost: u64,
    /// Who follows events.
    pub followers: usize,
    /// Connections over TCP and over the Unix socket.
    pub connections: [usize; 2],
}

/// All metrics in Prometheus's text format.
///
/// # Errors
/// Where a definition is no metric.
pub fn exposition(reading: &Reading<'_>) -> prometheus::Result<Vec<u8>> {
    let families: Vec<MetricFamily> = DEFINITIONS
        .iter()
        .filter_map(|definition| family(definition, reading))
        .collect();
    let mut text = Vec::new();
    TextEncoder::new().encode(&families, &mut text)?;
    Ok(text)
}

/// A metric with its series; `None` where it has none now.
fn family(definition: &Definition, reading: &Reading<'_>) -> Option<MetricFamily> {
    let series = (definition.read)(reading);
    if series.is_empty() {
        return None;
    }
    let mut family = MetricFamily::default();
    family.set_name(definition.name.to_owned());
    family.set_help(definition.help.to_owned());
    family.set_field_type(match definition.kind {
        Kind::Counter => MetricType::COUNTER,
        Kind::Gauge => MetricType::GAUGE,
        Kind::Histogram => MetricType::HISTOGRAM,
    });
    let metrics = series.into_iter().map(|(labels, value)| {
        let mut metric = Metric::default();
        let pairs = definition.labels.iter().zip(labels).map(|(name, value)| {
            let mut pair = LabelPair::default();
            pair.set_name((*name).to_owned());
            pair.set_value(value);
            pair
        });
        metric.set_label(pairs.collect());
        match value {
            Value::Number(number) if definition.kind == Kind::Counter => {
                let mut counter = Counter::default();
                counter.set_value(number);
                metric.set_counter(counter);
            }
            Value::Number(number) => {
                let mut gauge = Gauge::default();
                gauge.set_value(number);
                metric.set_gauge(gauge);
            }
            Value::Durations(durations) => metric.set_histogram(histogram(durations.read())),
        }
        metric
    });
    family.set_metric(metrics.collect());
    Some(family)
}

fn histogram((cumulative, count, sum_s): (Vec<u64>, u64, f64)) -> Histogram {
    let mut histogram = Histogram::default();
    histogram.set_sample_count(count);
    histogram.set_sample_sum(sum_s);
    let buckets = BOUNDS_US.iter().zip(cumulative).map(|(bound, count)| {
        let mut bucket = Bucket::default();
        bucket.set_upper_bound(*bound as f64 / 1e6);
        bucket.set_cumulative_count(count);
        bucket
    });
    histogram.set_bucket(buckets.collect());
    histogram
}

/// The reference: docs/metrics.md.
#[must_use]
pub fn reference() -> String {
    let mut text = String::from(
        "# Metrics\n\nServed at `/metrics`. No label holds an address, a port or a flow. Every known series is there from the start, \
         at 0; those of the data plane while there is one. This file is generated: \
         `DETECTOR_WRITE_REFERENCES=1 cargo test -p detector-user --lib stale`.\n\n\
         | metric | type | labels | meaning |\n|---|---|---|---|\n",
    );
    for one in DEFINITIONS {
        let labels: Vec<String> = one
            .labels
            .iter()
            .map(|label| format!("`{label}`"))
            .collect();
        let kind = match one.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        text.push_str(&format!(
            "| `{}` | {kind} | {} | {} |\n",
            one.name,
            labels.join(", "),
            one.help
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_as_prometheus_has_them() {
        for one in DEFINITIONS {
            assert!(one.name.starts_with("detector_"), "{}", one.name);
            let total = one.name.ends_with("_total");
            assert_eq!(total, one.kind == Kind::Counter, "{}", one.name);
            for label in one.labels {
                let forbidden = [
                    "address",
                    "port",
                    "ip",
                    "flow",
                    "pod",
                    "source",
                    "destination",
                ];
                assert!(!forbidden.contains(label), "{}: {label}", one.name);
            }
        }
    }

    #[test]
    fn the_agents_series_are_there_from_the_start() {
        let tallies = Tallies::default();
        let reading = Reading {
            plane: None,
            agent: &AgentView::default(),
            held: &Held::default(),
            model: None,
            drift: &Drift::default(),
            tallies: &tallies,
            stream_lost: 0,
            followers: 0,
            connections: [0; 2],
        };
        let text = String::from_utf8(exposition(&reading).unwrap()).unwrap();
        assert!(text.contains("detector_alerts_total{family=\"scan\",action=\"drop\",by=\"rule\",severity=\"1\"} 0"), "{text}");
        assert!(text.contains("detector_drain_duration_seconds_count 0"));
        assert!(text.contains("detector_config_reloads_total 0"));
    }

    #[test]
    fn the_committed_reference_is_not_stale() {
        crate::generated::is_current("metrics.md", &reference());
    }
}
