//! The agent's loop: a tick, what each second brings, and what is told.

use std::{
    sync::{
        Arc,
        mpsc::{Receiver, channel},
    },
    time::Duration,
};

use super::{
    super::{
        failure::Failure,
        report,
        stop::{Asked, Stop},
    },
    args::{Args, Loaded},
    open, plane_of,
    served::Served,
    sinks::Sinks,
    tell,
};
use crate::{
    agent::{
        config::Config,
        live::{LiveAgent, epoch_us, monotonic_ns, stats},
        model_source::News,
        probation::Probation,
    },
    decide::alert::{By, Kind},
    drain::reader::Pass,
    output::{
        Rfc3339,
        eve::{self, Event},
        nats::Subject,
    },
    privilege::reach::Reach,
    score::Scorer,
    serve::published::Topic,
    wire::{attach::Request, follow::Happened, pins::Pins},
};

/// The agent at work.
pub(super) struct Running<'a> {
    pub(super) args: Arc<Args>,
    pub(super) pins: &'a Pins,
    pub(super) request: Request,
    pub(super) stop: Stop,
    pub(super) happened: Receiver<Happened>,
    pub(super) sinks: Sinks,
    pub(super) plane: Option<u64>,
    pub(super) agent: LiveAgent,
    pub(super) config: Config,
    /// What it was confined to at its start; `None`: to nothing.
    pub(super) confined: Option<Arc<Reach>>,
    /// Whether the configuration says to act; who asks over the API goes over it.
    pub(super) configured_enforce: bool,
    pub(super) last_pass: Pass,
    pub(super) late: u64,
    pub(super) served: Served,
    /// What is new where the models come from, and what keeps the watch over it going.
    pub(super) watched: Option<(Receiver<News>, Arc<()>)>,
    pub(super) probation: Probation,
    pub(super) shadow: Option<Arc<Scorer>>,
}

impl Running<'_> {
    pub(super) fn until_stopped(&mut self) -> Result<(), Failure> {
        let (loads, loaded) = channel();
        let mut next_ns = monotonic_ns();
        let mut second_ns = next_ns;
        let mut stats_ns = next_ns;
        loop {
            let now_ns = monotonic_ns();
            if now_ns < next_ns {
                match self.stop.next(Duration::from_nanos(next_ns - now_ns)) {
                    Some(Asked::Stop) => break,
                    Some(Asked::Reload) => self.reload(&loads),
                    None => {}
                }
                continue;
            }
            // Ticks that take longer than they may leave no time to wait in.
            if self.stop.next(Duration::ZERO) == Some(Asked::Stop) {
                break;
            }
            let tick_ns = self.config.tick_ms * 1_000_000;
            if now_ns - next_ns > tick_ns {
                self.late += 1;
            }
            // A tick that comes late does not make the next come early.
            next_ns = (next_ns + tick_ns).max(now_ns);
            while let Ok(loaded) = loaded.try_recv() {
                self.take(loaded);
            }
            self.take_news();
            while let Some(wanted) = self.served.next() {
                self.change(wanted, &loads);
            }
            self.tick(now_ns);
            if now_ns >= second_ns {
                second_ns = now_ns + 1_000_000_000;
                self.each_second(now_ns);
            }
            if self.config.stats_s > 0 && now_ns >= stats_ns {
                stats_ns = now_ns + self.config.stats_s * 1_000_000_000;
                self.tell_stats(now_ns);
            }
        }
        report::note(
            "stopped; the programs stay attached and verdicts in force until they expire (`detector detach` removes all)",
        );
        Ok(())
    }

    fn tick(&mut self, now_ns: u64) {
        let mut ticked = self.agent.tick(now_ns);
        self.last_pass = ticked.pass;
        let fares = (self.plane.is_some(), self.late);
        self.served
            .publish(&self.agent, &self.config, &ticked, fares, &self.sinks);
        let epoch_us = epoch_us(now_ns);
        let unix_s = (epoch_us + now_ns / 1000) / 1_000_000;
        self.sinks
            .flows(&mut ticked.flows, &self.config, epoch_us, unix_s);
        let pods = &self.served.published.pods;
        for (hit, verdict) in &ticked.hits {
            let line = eve::first_hit(hit, verdict, epoch_us, pods);
            self.sinks.tell(Subject::Drop, line);
        }
        for (decision, in_force) in &ticked.decisions {
            let Some(alert) = &decision.alert else {
                continue;
            };
            let event = Event::of(decision, alert, *in_force, epoch_us, None).naming(pods);
            let line = event.line();
            self.served.published.tell(Topic::Alert, &line);
            self.sinks.tell(Subject::Alert, line);
            if !self.sinks.has_log() {
                report::note(&event.sentence());
            }
            if matches!(alert.kind, Kind::Safety | Kind::Fault) {
                report::warn(&alert.reason);
            }
            if alert.by == By::Model && matches!(alert.kind, Kind::Attack(_)) {
                self.probation.alert(alert.at_us);
            }
        }
        self.look_at_new_model(now_ns / 1000);
    }

    fn each_second(&mut self, now_ns: u64) {
        while let Ok(one) = self.happened.try_recv() {
            if let Err(failure) = tell(one, &self.request) {
                report::complain(&failure.to_string());
            }
        }
        let plane = plane_of(self.pins);
        if plane != self.plane && plane.is_some() {
            match open(self.pins, &self.config) {
                Ok(mut agent) => {
                    agent.set_scorer(self.served.scorer());
                    agent.set_shadow(self.shadow.clone());
                    self.agent = agent;
                    self.plane = plane;
                    self.never_block();
                    report::note("the data plane was replaced: the new one is read from now on");
                }
                Err(error) => report::complain(&error.to_string()),
            }
        } else if plane.is_none() && self.plane.take().is_some() {
            report::warn("the data plane was removed: nothing is seen until it is attached again");
        }
        self.learn_spared();
        self.look_at_drift(epoch_us(now_ns), now_ns / 1000);
    }

    fn never_block(&mut self) {
        if self.plane.is_none() {
            return;
        }
        if let Err(error) = self.agent.never_block(&self.config.never_block) {
            report::complain(&format!("never_block: {error}; what was listed stays"));
        }
        self.learn_spared();
    }

    pub(super) fn learn_spared(&mut self) {
        if self.plane.is_some()
            && let Err(error) = self.agent.learn_spared()
        {
            report::complain(&format!("reading who is never to be blocked: {error}"));
        }
    }

    fn take(&mut self, loaded: Result<Loaded, Failure>) {
        match loaded {
            Ok(loaded) => {
                self.agent.set_policy(loaded.config.decide.clone());
                self.agent.set_drift(loaded.config.drift);
                let enforce = loaded.config.enforce;
                if std::mem::replace(&mut self.configured_enforce, enforce) != enforce {
                    report::warn(
                        "enforce is decided at the start: restart the agent to change it, or ask it to (PUT /api/v1/mode)",
                    );
                }
                self.config = Config {
                    // What it does with verdicts and where it writes is decided at the start.
                    enforce: self.config.enforce,
                    events: self.config.events.clone(),
                    archive: self.config.archive.clone(),
                    nats: self.config.nats.clone(),
                    kubernetes: self.config.kubernetes.clone(),
                    privileges: self.config.privileges,
                    ..loaded.config
                };
                self.never_block();
                self.take_models(loaded.models);
                report::note("configuration reloaded");
                self.served.reloaded(Ok("configuration reloaded"));
            }
            Err(failure) => {
                let text = format!("{failure}; the former configuration stays in force");
                report::complain(&text);
                self.served.reloaded(Err(&text));
            }
        }
    }

    pub(super) fn tell_fault(&self, reason: String) {
        let now_ns = monotonic_ns();
        let decision = crate::decide::fault(reason, now_ns / 1000);
        let Some(alert) = &decision.alert else {
            return;
        };
        let line = Event::of(&decision, alert, false, epoch_us(now_ns), None).line();
        self.served.published.count_alert(alert);
        self.served.published.tell(Topic::Alert, &line);
        self.sinks.tell(Subject::Alert, line);
    }

    fn tell_stats(&self, now_ns: u64) {
        if !self.sinks.has_log() {
            return;
        }
        match self.agent.account() {
            Ok(account) => {
                let mut stats = stats(&account, &self.agent.counts(), &self.last_pass);
                let (denied, attacked) = self.agent.standing();
                stats["agent"]["late_ticks"] = self.late.into();
                stats["agent"]["denied_sources"] = denied.into();
                stats["agent"]["attacked_destinations"] = attacked.into();
                stats["drift"] = serde_json::json!(*self.served.published.drift.load_full());
                if let Some(comparison) = self.agent.comparison() {
                    stats["shadow"] = serde_json::json!(comparison);
                }
                let (written, lost) = self.sinks.counts();
                stats["agent"]["events_written"] = written.into();
                stats["agent"]["events_lost"] = lost.into();
                let line = serde_json::json!({
                    "timestamp": Rfc3339(epoch_us(now_ns) + now_ns / 1000).to_string(),
                    "event_type": "stats",
                    "stats": { "detector": stats },
                });
                self.sinks.log(format!("{line}\n"));
            }
            Err(error) => report::complain(&error.to_string()),
        }
    }
}
