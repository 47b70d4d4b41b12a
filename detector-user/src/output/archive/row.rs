//! The columns of an archived flow behind those that every flow has. Training leaves them out unless one is named as the
//! label: they are what the agent said (`dataset::tables::roles`).

use std::borrow::Cow;

use super::super::{
    columns::{Column, Kind, Value},
    parquet::Row,
};
use crate::{agent::flow_log::Finished, decide::policy::Step, flow::Flow};

fn text(text: Option<&'static str>) -> Value<'static> {
    text.map_or(Value::Null, |text| Value::Text(Cow::Borrowed(text)))
}

fn pod(name: Option<&str>) -> Value<'_> {
    name.map_or(Value::Null, |name| Value::Text(Cow::Borrowed(name)))
}

impl Row for Finished {
    const FURTHER: &'static [Column<Self>] = &[
        Column {
            name: "end_reason",
            kind: Kind::Text,
            doc: "tcp_close, or timeout: quiet for a minute, or at the longest time that a record counts",
            get: |row| text(Some(row.reason.name())),
        },
        Column {
            name: "model_family",
            kind: Kind::Text,
            doc: "What the model found the flow to be; null where that is no attack, or not known",
            get: |row| text(row.found.map(|found| found.family.name())),
        },
        Column {
            name: "model_score",
            kind: Kind::F32,
            doc: "The model's probability of that family",
            get: |row| {
                row.found
                    .map_or(Value::Null, |found| Value::Real(found.score))
            },
        },
        Column {
            name: "alert_family",
            kind: Kind::Text,
            doc: "Family of the alert that stood against the flow's source when the flow was over",
            get: |row| text(row.against.map(|against| against.family.name())),
        },
        Column {
            name: "verdict",
            kind: Kind::Text,
            doc: "The agent's verdict that was in force against the source then; null where it only tells",
            get: |row| {
                let against = row
                    .against
                    .filter(|against| row.enforced && against.step > Step::Alert);
                text(against.map(|against| against.step.name()))
            },
        },
        Column {
            name: "source_pod",
            kind: Kind::Text,
            doc: "The pod of this node that the flow came from, NAMESPACE/NAME; null where there is none, or pods are not named",
            get: |row| pod(row.source_pod.as_deref()),
        },
        Column {
            name: "destination_pod",
            kind: Kind::Text,
            doc: "The pod of this node that the flow went to",
            get: |row| pod(row.destination_pod.as_deref()),
        },
    ];

    fn flow(&self) -> &Flow {
        &self.flow
    }
}
