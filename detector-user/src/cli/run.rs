//! `detector run`: the agent.

mod args;
mod changes;
mod models;
mod served;
mod sinks;

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    sync::{
        Arc,
        mpsc::{Receiver, channel},
    },
    thread,
    time::Duration,
};

use detector_common::abi::map;

use super::{
    attach::{self, told::Told},
    failure::Failure,
    report,
    stop::{Asked, Stop},
};
pub(super) use args::Args;
use args::Loaded;
use served::Served;
use sinks::Sinks;

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
    serve::{listen::Listeners, published::Topic},
    wire::{
        attach::Request,
        follow::{Follower, Happened, POLL_INTERVAL},
        pins::Pins,
        tables::TablesError,
    },
};

/// Who is never to be blocked is looked up again after so many polls.
const FLOOR_POLLS: u32 = 10;

pub(super) fn run(args: &Args, pins: &Pins) -> Result<(), Failure> {
    let config = args.configuration()?;
    let stop = Stop::hold_and_reload();
    let request = args.plane.request(pins)?;
    if args.plane.replace {
        attach::replace(&args.plane, pins, &request)?;
    }
    pins.create()?;
    let listeners = Listeners::bind(&config.api, |listening| match listening {
        Ok(place) => report::note(&format!("serving at {place}")),
        Err(error) => report::warn(&format!("{error}; the agent goes on without")),
    });
    // No thread is there yet, and nothing that a stranger wrote is read yet: threads, models and requests come after.
    let (held, confined) = args.hold_least(&config, pins)?;
    let models = args.models(&config);
    let events = sinks::open_events(&config)?;
    let served = Served::start(&config, pins, listeners, held);
    let sinks = Sinks::open(events, &config, &served.published)?;
    let happened = follow(args, pins, request);
    let Some(agent) = attached(args, pins, &request, &happened, &stop, &config)? else {
        return Ok(());
    };
    let mut running = Running {
        args: Arc::new(args.clone()),
        pins,
        request,
        stop,
        happened,
        sinks,
        plane: plane_of(pins),
        agent,
        config,
        confined,
        last_pass: Pass::default(),
        late: 0,
        served,
        watched: None,
        probation: Probation::default(),
        shadow: None,
    };
    running.take_models(models);
    running.learn_spared();
    report::note(&format!(
        "ready: {}, tick {} ms",
        if running.config.enforce {
            "enforcing"
        } else {
            "monitoring: nothing is dropped (--enforce acts)"
        },
        running.config.tick_ms,
    ));
    running.until_stopped()
}

/// Attaches what is to be attached, on a thread of its own: it may take longer than a tick.
fn follow(args: &Args, pins: &Pins, request: Request) -> Receiver<Happened> {
    let (sender, receiver) = channel();
    let mut follower = Follower::new(args.plane.interfaces.clone(), request);
    let pins = Pins::new(pins.root());
    let no_floor = args.plane.no_floor;
    thread::spawn(move || {
        let mut polls = 0u32;
        loop {
            let happened = follower.poll(&pins);
            // Addresses, gateways and resolvers change.
            let due = polls.is_multiple_of(FLOOR_POLLS) || !happened.is_empty();
            if due
                && !no_floor
                && follower.attached().next().is_some()
                && let Err(failure) = attach::write_floor(&pins)
            {
                report::complain(&failure.to_string());
            }
            polls = polls.wrapping_add(1);
            for one in happened {
                if sender.send(one).is_err() {
                    return;
                }
            }
            thread::sleep(POLL_INTERVAL);
        }
    });
    receiver
}

/// Waits until there is a data plane; `None` where it is to stop before.
fn attached(
    args: &Args,
    pins: &Pins,
    request: &Request,
    happened: &Receiver<Happened>,
    stop: &Stop,
    config: &Config,
) -> Result<Option<LiveAgent>, Failure> {
    let (mut waited, mut there) = (false, false);
    loop {
        while let Ok(one) = happened.try_recv() {
            there |= matches!(one, Happened::Attached(_));
            tell(one, request)?;
        }
        if there {
            return Ok(Some(open(pins, config)?));
        }
        if stop.within(Duration::from_millis(50)) {
            return Ok(None);
        }
        if !std::mem::replace(&mut waited, true) {
            let names: Vec<&str> = args.plane.interfaces.iter().map(|p| p.as_str()).collect();
            report::note(&format!("attaching to {}", names.join(", ")));
        }
    }
}

/// The agent over what is pinned, as configured, with no model yet.
fn open(pins: &Pins, config: &Config) -> Result<LiveAgent, TablesError> {
    let policy = config.decide.clone();
    let mut agent = LiveAgent::open(Pins::new(pins.root()), policy, None, config.enforce)?;
    agent.set_drift(config.drift);
    if sinks::wants_flows(config) {
        agent.log_flows()?;
    }
    Ok(agent)
}

fn tell(one: Happened, request: &Request) -> Result<(), Failure> {
    let mut told = Vec::new();
    attach::follow::tell(one, request, &mut told)?;
    for one in told {
        match one {
            Told::Attached {
                interface,
                ingress,
                egress,
                ..
            } => report::note(&format!(
                "attached to {interface}: {ingress}, egress {egress}"
            )),
            Told::Gone { interface, .. } => {
                report::warn(&format!(
                    "{interface} is gone; it is attached again when it comes back"
                ));
            }
            _ => {}
        }
    }
    Ok(())
}

/// What tells one data plane from the next at the same place.
fn plane_of(pins: &Pins) -> Option<u64> {
    fs::metadata(pins.map(map::CONTROL))
        .ok()
        .map(|pin| pin.ino())
}

struct Running<'a> {
    args: Arc<Args>,
    pins: &'a Pins,
    request: Request,
    stop: Stop,
    happened: Receiver<Happened>,
    sinks: Sinks,
    plane: Option<u64>,
    agent: LiveAgent,
    config: Config,
    /// What it was confined to at its start; `None`: to nothing.
    confined: Option<Arc<Reach>>,
    last_pass: Pass,
    late: u64,
    served: Served,
    /// What is new where the models come from, and what keeps the watch over it going.
    watched: Option<(Receiver<News>, Arc<()>)>,
    probation: Probation,
    shadow: Option<Arc<Scorer>>,
}

impl Running<'_> {
    fn until_stopped(&mut self) -> Result<(), Failure> {
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

    fn learn_spared(&mut self) {
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
                if loaded.config.enforce != self.config.enforce {
                    report::warn("enforce is decided at the start: restart the agent to change it");
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

    fn tell_fault(&self, reason: String) {
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
