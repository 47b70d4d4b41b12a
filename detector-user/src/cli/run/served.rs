//! The agent's side of the server: what the loop publishes at each tick, and the changes that it takes.

use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::SystemTime,
};

use tokio::sync::{
    mpsc::Receiver,
    oneshot::{self, Sender},
};

use super::{super::report, sinks::Sinks};
use crate::{
    agent::{
        config::Config,
        live::{LiveAgent, Ticked},
    },
    decide::alert::Act,
    drift::Drift,
    enforce::{order::Order, target::Target},
    kubernetes::{self, PodNames},
    output::nats::Subject,
    privilege::Held,
    score::Scorer,
    serve::{
        Server,
        change::{Asked, Outcome, Refused},
        listen::Listeners,
        published::{AgentView, Published, Topic},
    },
    wire::{load::unix_ms, pins::Pins},
};

/// Where the loop and the server meet.
pub(super) struct Served {
    pub(super) published: Arc<Published>,
    asked: Receiver<Asked>,
    /// It serves while this is there.
    _server: Option<Server>,
    /// The model before, for a rollback.
    former: Option<Arc<Scorer>>,
    /// Who waits for the configuration that is being read.
    reloading: Vec<Sender<Outcome>>,
}

impl Served {
    /// Starts the server. Where there is none the agent goes on without.
    pub(super) fn start(config: &Config, pins: &Pins, listeners: Listeners, held: Held) -> Self {
        let (published, ends, asked) = Published::new(held);
        let view = AgentView {
            enforce: config.enforce,
            tick_ms: config.tick_ms,
            ..AgentView::default()
        };
        published.agent.store(Arc::new(view));
        let server = Server::start(&config.api, pins.root(), published.clone(), ends, listeners);
        let server = server
            .inspect_err(|error| report::warn(&error.to_string()))
            .ok();
        if let Some(server) = &server
            && config.kubernetes.pod_names
        {
            let (pods, counts) = (published.pods.clone(), published.tallies.kubernetes.clone());
            let settings = config.kubernetes.clone();
            server.spawn(kubernetes::watch(settings, pods, counts, report::warn));
        }
        Self {
            published,
            asked,
            _server: server,
            former: None,
            reloading: Vec::new(),
        }
    }

    /// The next change that is asked for.
    pub(super) fn next(&mut self) -> Option<Asked> {
        self.asked.try_recv().ok()
    }

    /// Somebody waits for the configuration to be read.
    pub(super) fn waits(&mut self, answer: Sender<Outcome>) {
        self.reloading.push(answer);
    }

    /// The configuration was read, or not.
    pub(super) fn reloaded(&mut self, result: Result<&str, &str>) {
        let tallies = &self.published.tallies;
        tallies.reloads.fetch_add(1, Relaxed);
        match result {
            Ok(_) => tallies
                .reloaded_unix_ms
                .store(unix_ms(SystemTime::now()), Relaxed),
            Err(_) => {
                tallies.reloads_failed.fetch_add(1, Relaxed);
            }
        }
        for answer in self.reloading.drain(..) {
            let outcome = result
                .map(str::to_owned)
                .map_err(|why| Refused(why.to_owned()));
            answer_to(answer, outcome);
        }
    }

    /// Another model is in force.
    pub(super) fn take_model(&mut self, scorer: Option<Arc<Scorer>>) {
        let before = self.published.scorer.swap(scorer);
        if before.is_some() {
            self.former = before;
        }
        let event = serde_json::json!({ "model": self.published.model() });
        self.published.tell(Topic::Agent, &event.to_string());
    }

    /// Publishes whether traffic has drifted; what of it is new.
    pub(super) fn take_drift(&self, mut drift: Drift) -> Option<Arc<Drift>> {
        let before = self.published.drift.load();
        let same = before.state == drift.state;
        if same {
            // Unix time moves a little against the clock of the rows: what was told of it stays.
            drift.since_us = before.since_us.or(drift.since_us);
        }
        let drift = Arc::new(drift);
        self.published.drift.store(drift.clone());
        if same {
            return None;
        }
        let event = serde_json::json!({ "drift": drift });
        self.published.tell(Topic::Agent, &event.to_string());
        Some(drift)
    }

    /// The model in force.
    pub(super) fn scorer(&self) -> Option<Arc<Scorer>> {
        self.published.scorer.load_full()
    }

    /// The model before.
    pub(super) fn former(&mut self) -> Option<Arc<Scorer>> {
        self.former.take()
    }

    /// Publishes what a tick did, and how the agent fares.
    pub(super) fn publish(
        &self,
        agent: &LiveAgent,
        config: &Config,
        ticked: &Ticked,
        (attached, late): (bool, u64),
        sinks: &Sinks,
    ) {
        let tallies = &self.published.tallies;
        tallies.drain.add(ticked.drained.as_micros() as u64);
        tallies.decide.add(ticked.decided.as_micros() as u64);
        let now_ms = unix_ms(SystemTime::now());
        tallies.drained_unix_ms.store(now_ms, Relaxed);
        for (decision, in_force) in &ticked.decisions {
            if let Some(alert) = &decision.alert {
                self.published.count_alert(alert);
            }
            let Some(act) = &decision.act else {
                continue;
            };
            if agent.enforces() {
                tallies.verdict_writes.fetch_add(1, Relaxed);
                let failed = u64::from(!in_force);
                tallies.verdict_writes_failed.fetch_add(failed, Relaxed);
            }
            if *in_force {
                let event = verdict_event(act, &self.published.pods);
                sinks.publish(Subject::Verdict, &event);
                self.published.tell(Topic::Verdict, &event);
            }
        }
        let counts = agent.counts();
        let (denied, attacked) = agent.standing();
        let (written, lost) = sinks.counts();
        self.published.agent.store(Arc::new(AgentView {
            attached,
            enforce: agent.enforces(),
            tick_ms: config.tick_ms,
            ticks: counts.ticks,
            late_ticks: late,
            ticked_unix_ms: now_ms,
            tick_us: ticked.took.as_micros() as u64,
            scored: counts.scored,
            left_out: counts.left_out,
            hosts_refused: counts.hosts_refused,
            denied_sources: denied as u64,
            attacked_destinations: attacked as u64,
            flows: ticked.pass.flows.into(),
            events_written: written,
            events_lost: lost,
            drift: counts.drift,
        }));
    }
}

/// What the agent does with a verdict.
fn verdict_event(act: &Act, pods: &PodNames) -> String {
    let mut event = match act {
        Act::Put(order) => serde_json::json!({
            "verdict": "added",
            "by": "agent",
            "target": order.target.to_string(),
            "action": order.action.name(),
            "packets_per_second": order.packets_per_second,
            "ttl_s": order.time_to_live.map(|ttl| ttl.as_secs()),
            "reason": order.reason,
        }),
        Act::Lift(target) => serde_json::json!({
            "verdict": "lifted",
            "by": "agent",
            "target": target.to_string(),
        }),
    };
    let (Act::Put(Order { target, .. }) | Act::Lift(target)) = act;
    if let Target::Address(address) = target
        && let Some(pod) = pods.of(*address)
    {
        event["pod"] = (*pod).into();
    }
    event.to_string()
}

/// Answers whoever asked, if it is still there.
pub(super) fn answer_to(answer: oneshot::Sender<Outcome>, outcome: Outcome) {
    let _ = answer.send(outcome);
}
