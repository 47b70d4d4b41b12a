//! The changes that are asked of the agent over the API, made between two ticks.

use std::{sync::mpsc::Sender, thread};

use super::{
    super::{failure::Failure, report},
    args::Loaded,
    running::Running,
    served::answer_to,
};
use crate::{
    agent::live::monotonic_ns,
    serve::{
        change::{Asked, Change, Refused},
        published::Topic,
    },
};

impl Running<'_> {
    pub(super) fn reload(&self, loads: &Sender<Result<Loaded, Failure>>) {
        // Reading a model may take longer than a tick.
        let (args, confined, loads) = (self.args.clone(), self.confined.clone(), loads.clone());
        thread::spawn(move || {
            let _ = loads.send(args.load_within(confined.as_deref()));
        });
    }

    /// Makes a change that is asked for over the API.
    pub(super) fn change(&mut self, wanted: Asked, loads: &Sender<Result<Loaded, Failure>>) {
        let outcome = match wanted.change {
            Change::Reload => {
                self.served.waits(wanted.answer);
                return self.reload(loads);
            }
            Change::Mode { enforce } => self.set_mode(enforce),
            Change::Model(scorer) => {
                let done = self.set_model(scorer);
                self.probation.begin(monotonic_ns() / 1000);
                Ok(done)
            }
            Change::Rollback => match self.served.former() {
                Some(scorer) => Ok(self.set_model(scorer)),
                None => Err(Refused("there is no former model".to_owned())),
            },
        };
        if let Ok(done) = &outcome {
            report::note(&format!("by the API: {done}"));
        }
        answer_to(wanted.answer, outcome);
    }

    fn set_mode(&mut self, enforce: bool) -> Result<String, Refused> {
        let lifted = self.agent.set_enforce(enforce).map_err(|error| {
            Refused(format!(
                "lifting the agent's verdicts: {error}; no new ones are written"
            ))
        })?;
        self.config.enforce = enforce;
        let done = if enforce {
            "enforcing from now on".to_owned()
        } else {
            format!("monitoring from now on: nothing new is dropped; {lifted} verdicts lifted")
        };
        let event = serde_json::json!({ "mode": if enforce { "enforce" } else { "monitor" } });
        self.served.published.tell(Topic::Agent, &event.to_string());
        Ok(done)
    }
}
