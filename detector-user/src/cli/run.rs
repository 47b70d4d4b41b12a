//! `detector run`: the agent.

mod args;
mod changes;
mod models;
mod running;
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
    stop::Stop,
};
pub(super) use args::Args;
use running::Running;
use served::Served;
use sinks::Sinks;

use crate::{
    agent::{config::Config, live::LiveAgent, probation::Probation},
    drain::reader::Pass,
    serve::listen::Listeners,
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
    let configured_enforce = config.enforce;
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
        configured_enforce,
        last_pass: Pass::default(),
        late: 0,
        served,
        watched: None,
        probation: Probation::default(),
        shadow: None,
    };
    running.agent.never_block(&running.config.never_block)?;
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
