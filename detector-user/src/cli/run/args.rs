//! What `detector run` is given, and what is read by it: at the start, and anew.

use std::{path::PathBuf, sync::Arc};

use super::{
    super::{attach::PlaneArgs, failure::Failure, report},
    models::Models,
};
use crate::{
    agent::{config::Config, model_source::SourceError},
    privilege::{
        self, Confinement, Held,
        reach::{Beyond, Reach},
    },
    wire::pins::Pins,
};

#[derive(Clone, Debug, clap::Args)]
pub(in super::super) struct Args {
    #[command(flatten)]
    pub(super) plane: PlaneArgs,
    /// Act on what is decided; without it nothing is dropped, and alerts say what would have been done
    #[arg(long)]
    enforce: bool,
    /// Configuration file [default: /etc/detector/detector.toml, where there is one]
    #[arg(long, env = "DETECTOR_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Model to score by [default: the one that is built in]
    #[arg(long, env = "DETECTOR_MODEL", value_name = "FILE")]
    model: Option<PathBuf>,
    /// Decide by plain thresholds alone
    #[arg(long, conflicts_with = "model")]
    no_model: bool,
    /// Where events go, as EVE JSON lines: a file, - for standard output, or unix:PATH
    #[arg(long, env = "DETECTOR_EVENTS", value_name = "PLACE")]
    events: Option<String>,
    /// Write an event for each flow that ends, too
    #[arg(long)]
    flow_events: bool,
    /// Between two ticks, ms
    #[arg(long, value_name = "MS", value_parser = clap::value_parser!(u64).range(10..=10_000))]
    tick_ms: Option<u64>,
}

/// What can be loaded anew while the agent runs.
pub(super) struct Loaded {
    pub(super) config: Config,
    pub(super) models: Result<Models, SourceError>,
}

impl Args {
    /// The configuration, flags over file.
    pub(super) fn configuration(&self) -> Result<Config, Failure> {
        let mut config = Config::read(self.config.as_deref())
            .map_err(|error| Failure::Configuration(error.to_string()))?;
        config.enforce |= self.enforce;
        config.tick_ms = self.tick_ms.unwrap_or(config.tick_ms);
        config.events = self.events.clone().or(config.events);
        config.flow_events |= self.flow_events;
        config.model = self.model.clone().or(config.model);
        Ok(config)
    }

    /// The models that a configuration names.
    pub(super) fn models(&self, config: &Config) -> Result<Models, SourceError> {
        if self.no_model {
            Ok(Models::none())
        } else {
            Models::load(config)
        }
    }

    /// Both anew, if what the agent is confined to allows it.
    pub(super) fn load_within(&self, confined: Option<&Reach>) -> Result<Loaded, Failure> {
        let beyond = |error: Beyond| Failure::Configuration(error.to_string());
        let file = self.config.as_deref();
        if let Some(reach) = confined {
            reach.covers_file(file).map_err(beyond)?;
        }
        let config = self.configuration()?;
        if let Some(reach) = confined {
            reach.covers(&config, file).map_err(beyond)?;
        }
        let models = self.models(&config);
        Ok(Loaded { config, models })
    }

    /// Gives up what is not needed, and tells what is held; with it what the agent is confined to, if it is.
    pub(super) fn hold_least(
        &self,
        config: &Config,
        pins: &Pins,
    ) -> Result<(Held, Option<Arc<Reach>>), Failure> {
        let reach = Reach::of(config, self.config.as_deref(), pins.root());
        let held = privilege::hold_least(config.privileges, &reach)
            .map_err(|error| Failure::Other(error.to_string()))?;
        report::note(&format!("holds {held}"));
        if let Some(complaint) = held.landlock.complaint() {
            report::warn(complaint);
        }
        let confined = held.landlock == Confinement::Confined;
        Ok((held, confined.then(|| Arc::new(reach))))
    }
}
