//! `detector status`: what hangs where, what became of every packet, and what the agent may do.

pub(crate) mod gather;
mod show;

use serde::{Deserialize, Serialize};

use super::{
    client::AgentArgs,
    failure::Failure,
    report::{self, FormatArgs, Report},
};
use crate::{
    privilege::Held,
    wire::{pins::Pins, tables::Tables},
};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    agent: AgentArgs,
    #[command(flatten)]
    format: FormatArgs,
}

/// What the agent says of itself.
#[derive(Debug, Serialize, Deserialize)]
struct AgentStatus {
    mode: String,
    privileges: Held,
}

/// The data plane, which is there without an agent, too.
#[derive(Serialize)]
struct Document<'a> {
    #[serde(flatten)]
    plane: &'a gather::Status,
    /// `None` where no agent answers.
    agent: Option<&'a AgentStatus>,
}

pub(super) fn run(args: &Args, pins: &Pins) -> Result<(), Failure> {
    let tables = Tables::open(pins)?;
    let status = gather::gather(pins, &tables)?;
    let agent = ask(args, pins);
    let mut report = Report::new(args.format);
    if report.is_table() {
        show::show(&mut report, &status)?;
        report.line("")?;
        report.line(&match &agent {
            Ok(agent) => format!("agent: {}, holds {}", agent.mode, agent.privileges),
            Err(why) => format!("agent: {why}"),
        })?;
    } else {
        report.document(&Document {
            plane: &status,
            agent: agent.as_ref().ok(),
        })?;
    }
    report.flush()?;
    for complaint in status.complaints() {
        report::warn(&complaint);
    }
    Ok(())
}

/// Asks the agent of this data plane; why there is no answer, where there is none.
fn ask(args: &Args, pins: &Pins) -> Result<AgentStatus, String> {
    let answer = args
        .agent
        .client()
        .and_then(|client| Ok(client.get("/api/v1/status")?))
        .map_err(|failure| failure.to_string())?;
    let root = &answer["plane"]["pin_dir"];
    if root.as_str() != Some(&pins.root().display().to_string()) {
        return Err(format!(
            "the one that answers watches another data plane ({root})"
        ));
    }
    serde_json::from_value(answer)
        .map_err(|error| format!("its answer is of another version ({error})"))
}
