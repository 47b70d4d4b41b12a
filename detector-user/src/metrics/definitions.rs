//! Every metric: its name, type, labels and meaning, and how it is read.

use std::sync::atomic::Ordering::Relaxed;

use super::{
    Reading,
    tallies::{BYS, Durations, KINDS},
};
use crate::{
    cli::status::gather::{InterfaceStatus, Named, Status, Sum},
    decide::family::Family,
    drift::State,
    output::{
        archive::{Dropped, Removed},
        nats::Unsent,
    },
};

/// What a metric is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It only rises.
    Counter,
    /// It rises and falls.
    Gauge,
    /// Durations.
    Histogram,
}

/// The value of a series.
pub enum Value<'a> {
    /// Of a counter or gauge.
    Number(f64),
    /// Of a histogram.
    Durations(&'a Durations),
}

/// A series: the values of its labels, and its own.
pub type Series<'a> = (Vec<String>, Value<'a>);

/// A metric.
pub struct Definition {
    /// Its name.
    pub name: &'static str,
    /// What it is.
    pub kind: Kind,
    /// The names of its labels.
    pub labels: &'static [&'static str],
    /// What it means.
    pub help: &'static str,
    /// Its series now.
    pub read: for<'a> fn(&'a Reading<'_>) -> Vec<Series<'a>>,
}

fn one(value: impl Number) -> Vec<Series<'static>> {
    vec![(Vec::new(), Value::Number(value.number()))]
}

fn some(value: Option<impl Number>) -> Vec<Series<'static>> {
    value.map(one).unwrap_or_default()
}

fn labelled<const N: usize>(labels: [&str; N], value: impl Number) -> Series<'static> {
    (
        labels.map(str::to_owned).to_vec(),
        Value::Number(value.number()),
    )
}

/// Counts are doubles in Prometheus, exact up to 2^53.
trait Number {
    fn number(self) -> f64;
}

impl Number for u64 {
    fn number(self) -> f64 {
        self as f64
    }
}

impl Number for u32 {
    fn number(self) -> f64 {
        self.into()
    }
}

impl Number for usize {
    fn number(self) -> f64 {
        self as f64
    }
}

impl Number for bool {
    fn number(self) -> f64 {
        f64::from(u8::from(self))
    }
}

impl Number for f64 {
    fn number(self) -> f64 {
        self
    }
}

fn seconds(unix_ms: u64) -> f64 {
    unix_ms as f64 / 1000.0
}

fn sums(named: &Named<Sum>, value: fn(&Sum) -> u64) -> Vec<Series<'static>> {
    let series = named.0.iter();
    series
        .map(|(name, sum)| labelled([name], value(sum)))
        .collect()
}

fn plane<'a>(reading: &'a Reading<'_>, read: fn(&'a Status) -> Vec<Series<'a>>) -> Vec<Series<'a>> {
    reading.plane.map(read).unwrap_or_default()
}

fn event(reading: &Reading<'_>, name: &str) -> Option<u64> {
    let events = &reading.plane?.events.0;
    let event = events.iter().find(|(event, _)| *event == name);
    event.map(|(_, count)| *count)
}

/// Drops of a kind of verdict, by its fate's name.
fn dropped(status: &Status, value: fn(&Sum) -> u64) -> Vec<Series<'static>> {
    let fates = status.books.fates.0.iter();
    fates
        .filter_map(|(name, sum)| Some(labelled([name.strip_prefix("dropped_")?], value(sum))))
        .collect()
}

fn by_interface(status: &Status, value: fn(&Sum) -> u64) -> Vec<Series<'static>> {
    let directions = |one: &InterfaceStatus| {
        let seen = |named: &Named<Sum>| {
            let seen = named.0.iter().find(|(name, _)| *name == "seen");
            seen.map_or(0, |(_, sum)| value(sum))
        };
        [
            labelled([&one.name, "ingress"], seen(&one.ingress)),
            labelled([&one.name, "egress"], seen(&one.egress)),
        ]
    };
    status.interfaces.iter().flat_map(directions).collect()
}

macro_rules! metrics {
    ($($name:literal $kind:ident [$($label:literal),*] $help:literal $read:expr;)*) => {
        /// All of them, in the order in which they are served.
        pub static DEFINITIONS: &[Definition] = &[$(Definition {
            name: $name,
            kind: Kind::$kind,
            labels: &[$($label),*],
            help: $help,
            read: $read,
        }),*];
    };
}

metrics! {
    "detector_build_info" Gauge ["version"] "1; the version of the program"
        |_| vec![labelled([env!("CARGO_PKG_VERSION")], true)];
    "detector_capability_held" Gauge ["capability"] "1; a capability that the agent holds"
        |r| r.held.capabilities.iter().map(|name| labelled([name], true)).collect();
    "detector_landlock_abi" Gauge [] "The version of Landlock's ABI by which the agent is confined to its files; 0: it is not"
        |r| one(r.held.landlock_abi);
    "detector_attached" Gauge [] "Whether there is a data plane that the agent reads"
        |r| one(r.agent.attached);
    "detector_interface_attached" Gauge ["interface", "ingress_mode", "egress_mode"]
        "Whether the programs hang on an interface, and how"
        |r| plane(r, |s| s.interfaces.iter().map(|i|
            labelled([&i.name, i.ingress_mode, i.egress_mode], i.state == "attached")).collect());
    "detector_interface_packets_total" Counter ["interface", "direction"] "Packets seen on an interface"
        |r| plane(r, |s| by_interface(s, |sum| sum.packets));
    "detector_interface_bytes_total" Counter ["interface", "direction"] "Bytes seen on an interface"
        |r| plane(r, |s| by_interface(s, |sum| sum.bytes));

    "detector_seen_packets_total" Counter [] "Packets seen, whatever became of them"
        |r| plane(r, |s| one(s.books.seen.packets));
    "detector_seen_bytes_total" Counter [] "Bytes seen"
        |r| plane(r, |s| one(s.books.seen.bytes));
    "detector_packets_total" Counter ["fate"] "Packets by what became of them, those that are counted in a flow's record aside"
        |r| plane(r, |s| sums(&s.books.fates, |sum| sum.packets));
    "detector_bytes_total" Counter ["fate"] "Bytes by what became of them, those that are counted in a flow's record aside"
        |r| plane(r, |s| sums(&s.books.fates, |sum| sum.bytes));
    "detector_record_packets" Gauge [] "Packets that the flow table's records hold"
        |r| plane(r, |s| one(s.books.in_records.packets));
    "detector_record_bytes" Gauge [] "Bytes that the flow table's records hold"
        |r| plane(r, |s| one(s.books.in_records.bytes));
    "detector_unaccounted_packets" Gauge []
        "The conservation identity: seen, less those in records and of every fate; 0 but for packets in flight"
        |r| plane(r, |s| one(s.books.difference_packets as f64));
    "detector_unbalanced" Gauge [] "1 where it does not add up though no packet came meanwhile: a defect"
        |r| plane(r, |s| one(s.books.balance == crate::cli::status::gather::Balance::Unbalanced));
    "detector_malformed_packets_total" Counter ["reason"] "Packets that could not be parsed, by reason; they pass"
        |r| plane(r, |s| s.malformed.0.iter().map(|(name, count)| labelled([name], *count)).collect());
    "detector_dropped_packets_total" Counter ["kind"] "Packets dropped, by the kind of verdict"
        |r| plane(r, |s| dropped(s, |sum| sum.packets));
    "detector_dropped_bytes_total" Counter ["kind"] "Bytes dropped, by the kind of verdict"
        |r| plane(r, |s| dropped(s, |sum| sum.bytes));
    "detector_let_through_packets_total" Counter [] "Packets that a rate limit or a quarantine let through"
        |r| some(event(r, "let_through"));
    "detector_never_blocked_packets_total" Counter [] "Packets that a never-block prefix saved from a verdict"
        |r| some(event(r, "never_blocked"));

    "detector_flow_table_capacity" Gauge [] "Flows that the table holds"
        |r| plane(r, |s| one(s.table.capacity));
    "detector_flow_table_flows" Gauge ["state"] "Flows in the table: established ones, and those on probation"
        |r| plane(r, |s| vec![labelled(["established"], s.table.protected), labelled(["probation"], s.table.probation)]);
    "detector_flows_created_total" Counter [] "Flows that began"
        |r| some(event(r, "flows_created"));
    "detector_flows_evicted_total" Counter [] "Flows that others took the place of"
        |r| some(event(r, "flows_evicted"));
    "detector_admissions_refused_packets_total" Counter [] "Packets that found no slot in the flow table; they pass"
        |r| plane(r, |s| s.books.fates.0.iter().filter(|(name, _)| *name == "not_admitted")
            .flat_map(|(_, sum)| one(sum.packets)).collect());
    "detector_kernel_events_lost_total" Counter ["ring"] "Events of the kernel that found no room on their way to the agent"
        |r| [("ended", event(r, "ended_lost")), ("hits", event(r, "events_lost"))].into_iter()
            .filter_map(|(ring, count)| Some(labelled([ring], count?))).collect();

    "detector_verdicts" Gauge ["kind"] "Verdicts that are written, expired ones that are not yet removed included"
        |r| plane(r, |s| s.verdicts.by_kind.0.iter().map(|(kind, count)| labelled([kind], *count)).collect());
    "detector_verdicts_expired" Gauge [] "Verdicts that have expired and are not yet removed"
        |r| plane(r, |s| some(s.verdicts.expired));
    "detector_verdict_slots" Gauge [] "Verdicts that there can be"
        |r| plane(r, |s| one(s.verdicts.capacity));
    "detector_never_block_prefixes" Gauge [] "Prefixes that no verdict may deny"
        |r| plane(r, |s| one(s.verdicts.never_block));
    "detector_verdict_writes_total" Counter [] "Verdicts that the agent was to write or lift"
        |r| one(r.tallies.verdict_writes.load(Relaxed));
    "detector_verdict_write_failures_total" Counter [] "Of them, those that failed"
        |r| one(r.tallies.verdict_writes_failed.load(Relaxed));

    "detector_enforce" Gauge [] "1 where the agent acts, 0 where it only tells"
        |r| one(r.agent.enforce);
    "detector_ticks_total" Counter [] "Ticks of the agent"
        |r| one(r.agent.ticks);
    "detector_late_ticks_total" Counter [] "Ticks that began more than a whole tick late"
        |r| one(r.agent.late_ticks);
    "detector_drain_duration_seconds" Histogram [] "How long a pass over the flow table took"
        |r| vec![(Vec::new(), Value::Durations(&r.tallies.drain))];
    "detector_drain_last_success_timestamp_seconds" Gauge [] "When a pass over the flow table was last completed"
        |r| one(seconds(r.tallies.drained_unix_ms.load(Relaxed)));
    "detector_score_duration_seconds" Histogram [] "How long features, scores and decisions of a tick took"
        |r| vec![(Vec::new(), Value::Durations(&r.tallies.decide))];
    "detector_flows_scored_total" Counter [] "Flows that were scored, each as often as it was"
        |r| one(r.agent.scored);
    "detector_flows_left_out_total" Counter [] "Flows for which a tick had no room: not scored, but counted"
        |r| one(r.agent.left_out);
    "detector_hosts_refused_total" Counter [] "Hosts, services and pairs for which there was no room in the windows"
        |r| one(r.agent.hosts_refused);
    "detector_alerts_total" Counter ["family", "action", "by", "severity"]
        "Alerts, by the attack's family (benign: of the agent itself), what is done or would be, and where the evidence is from"
        |r| Family::ALL.iter().flat_map(|family| KINDS.iter().flat_map(move |kind| BYS.iter().map(move |by|
            labelled([family.name(), kind.name(), by.name(), &kind.severity().to_string()],
                r.tallies.alerts(*family, *kind, *by))))).collect();
    "detector_denied_sources" Gauge [] "Sources with the agent's verdict; in monitor mode those that would have one"
        |r| one(r.agent.denied_sources);
    "detector_attacked_destinations" Gauge [] "Destinations under attack"
        |r| one(r.agent.attacked_destinations);
    "detector_model_info" Gauge ["model", "origin"]
        "1; name and version of the model, and whether it is built in or was loaded; none where plain thresholds decide alone"
        |r| vec![match &r.model {
            Some(model) => labelled([&model.name(), if model.is_built_in() { "built-in" } else { "loaded" }], true),
            None => labelled(["none", "none"], true),
        }];
    "detector_model_loads_total" Counter [] "Times that a model was to be taken: at the start, anew, or the former again"
        |r| one(r.tallies.model_loads.load(Relaxed));
    "detector_model_load_failures_total" Counter [] "Of them, those that left the former in force, or plain thresholds"
        |r| one(r.tallies.model_loads_failed.load(Relaxed));
    "detector_drift_state" Gauge ["state"] "Whether traffic still looks like what the model was trained on: 1 for the state that it is in, 0 for the others"
        |r| State::ALL.iter().map(|state| labelled([state.name()], r.drift.state == *state)).collect();
    "detector_drift_score_psi" Gauge [] "PSI of the model's score between the last full window and what it was trained on; 0 before one is full"
        |r| one(r.drift.score_psi.unwrap_or(0.0));
    "detector_drift_features" Gauge [] "Features that are compared with what the model was trained on"
        |r| one(r.drift.features);
    "detector_drift_features_moved" Gauge [] "Of them, those that have moved far in the last full window"
        |r| one(r.drift.moved);
    "detector_drift_rows_total" Counter [] "Rows that were counted to tell drift"
        |r| one(r.agent.drift.rows);
    "detector_drift_set_aside_rows_total" Counter [] "Rows that were not, because they are of an attack that was told of"
        |r| one(r.agent.drift.set_aside);
    "detector_drift_windows_total" Counter [] "Windows of rows that were full and held against what the model was trained on"
        |r| one(r.agent.drift.windows);
    "detector_config_reloads_total" Counter [] "Times that the configuration was read again"
        |r| one(r.tallies.reloads.load(Relaxed));
    "detector_config_reload_failures_total" Counter [] "Of them, those that left the former in force"
        |r| one(r.tallies.reloads_failed.load(Relaxed));
    "detector_config_last_reload_success_timestamp_seconds" Gauge [] "When the configuration was last read with success"
        |r| one(seconds(r.tallies.reloaded_unix_ms.load(Relaxed)));
    "detector_events_written_total" Counter [] "Event lines that were written to their place"
        |r| one(r.agent.events_written);
    "detector_events_lost_total" Counter [] "Event lines that were lost: their place was slow, full or gone"
        |r| one(r.agent.events_lost);

    "detector_archive_rows_offered_total" Counter [] "Flows that ended and were handed to the archive; offered = written + dropped + pending"
        |r| one(r.tallies.archive.offered.load(Relaxed));
    "detector_archive_rows_written_total" Counter [] "Of them, rows in complete files"
        |r| one(r.tallies.archive.written.load(Relaxed));
    "detector_archive_rows_dropped_total" Counter ["reason"] "Of them, rows that are in no file: the queue or the disk was full, or nothing could be written"
        |r| Dropped::ALL.iter().map(|why| labelled([why.name()], r.tallies.archive.dropped(*why))).collect();
    "detector_archive_rows_pending" Gauge [] "Of them, rows that wait, or are in a file that is not complete yet"
        |r| one(r.tallies.archive.pending());
    "detector_archive_rows_waiting" Gauge [] "Of those, rows that wait in the queue"
        |r| one(r.tallies.archive.waiting.load(Relaxed));
    "detector_archive_written_bytes_total" Counter [] "Bytes of files that were completed"
        |r| one(r.tallies.archive.bytes.load(Relaxed));
    "detector_archive_stored_bytes" Gauge [] "Bytes of all files of the archive"
        |r| one(r.tallies.archive.stored_bytes.load(Relaxed));
    "detector_archive_files_removed_total" Counter ["reason"] "Files that were removed, because of their age or of the size of all"
        |r| Removed::ALL.iter().map(|why| labelled([why.name()], r.tallies.archive.removed(*why))).collect();
    "detector_archive_last_success_timestamp_seconds" Gauge [] "When a file was last completed"
        |r| one(seconds(r.tallies.archive.succeeded_unix_ms.load(Relaxed)));
    "detector_nats_connected" Gauge [] "Whether there is a NATS server with the stream"
        |r| one(r.tallies.nats.connected.load(Relaxed));
    "detector_nats_events_offered_total" Counter [] "Events that were handed over for NATS; offered = published + dropped + pending"
        |r| one(r.tallies.nats.offered.load(Relaxed));
    "detector_nats_events_published_total" Counter [] "Of them, those that the stream acknowledged"
        |r| one(r.tallies.nats.published.load(Relaxed));
    "detector_nats_events_dropped_total" Counter ["reason"] "Of them, those that are not in the stream: the queue was full, the server refused them, or the agent stopped"
        |r| Unsent::ALL.iter().map(|why| labelled([why.name()], r.tallies.nats.dropped(*why))).collect();
    "detector_nats_events_pending" Gauge [] "Of them, those that wait, or are not acknowledged yet"
        |r| one(r.tallies.nats.pending());
    "detector_nats_published_bytes_total" Counter [] "Bytes of events that the stream acknowledged, without headers"
        |r| one(r.tallies.nats.bytes.load(Relaxed));
    "detector_nats_last_success_timestamp_seconds" Gauge [] "When an event was last acknowledged"
        |r| one(seconds(r.tallies.nats.succeeded_unix_ms.load(Relaxed)));
    "detector_kubernetes_watching" Gauge [] "Whether the Kubernetes API tells of every change of this node's pods"
        |r| one(r.tallies.kubernetes.watching.load(Relaxed));
    "detector_kubernetes_pods" Gauge [] "Pods of this node that have a name in flows, events and verdicts"
        |r| one(r.tallies.kubernetes.pods.load(Relaxed));
    "detector_kubernetes_pods_left_out_total" Counter [] "Times that a pod found no room among those that have a name"
        |r| one(r.tallies.kubernetes.left_out.load(Relaxed));
    "detector_kubernetes_failures_total" Counter [] "Requests to the Kubernetes API that failed, or had no answer in time"
        |r| one(r.tallies.kubernetes.failures.load(Relaxed));
    "detector_kubernetes_last_success_timestamp_seconds" Gauge [] "When the Kubernetes API last answered"
        |r| one(seconds(r.tallies.kubernetes.succeeded_unix_ms.load(Relaxed)));

    "detector_api_requests_total" Counter ["status"] "Requests to the API, by the class of their answer's status"
        |r| r.tallies.requests.by_class().map(|(class, count)| labelled([class], count)).collect();
    "detector_api_problems_total" Counter ["problem"] "Of them, those that were answered by a problem, by its type"
        |r| r.tallies.requests.by_problem().map(|(problem, count)| labelled([problem], count)).collect();
    "detector_api_request_duration_seconds" Histogram [] "How long a request took to the head of its answer"
        |r| vec![(Vec::new(), Value::Durations(&r.tallies.requests.duration))];
    "detector_api_connections" Gauge ["listener"] "Connections that are open; beyond `api.connections_max` they wait"
        |r| ["tcp", "unix"].into_iter().zip(r.connections).map(|(listener, count)| labelled([listener], count)).collect();
    "detector_api_events_lost_total" Counter [] "Events that found no room on their way to followers of the API"
        |r| one(r.stream_lost);
    "detector_api_followers" Gauge [] "Who follows events over the API"
        |r| one(r.followers);
    "detector_api_rows_scored_total" Counter [] "Rows that were scored because somebody asked"
        |r| one(r.tallies.rows());
}
