//! The agent's models: taken at the start and anew, tried in the shadow, returned from.

use std::{
    sync::{Arc, atomic::Ordering::Relaxed, mpsc::channel},
    time::Duration,
};

use super::{super::report, running::Running};
use crate::{
    agent::{
        config::Config,
        live::monotonic_ns,
        model_source::{self, Marks, News, Place, SourceError},
    },
    drift::State,
    output::Rfc3339,
    score::Scorer,
};

/// The models that a configuration names, and where they are from.
pub(super) struct Models {
    /// `None`: without a model.
    place: Option<(Place, Marks)>,
    scorer: Result<Option<Arc<Scorer>>, SourceError>,
    shadow: Result<Option<Arc<Scorer>>, SourceError>,
}

impl Models {
    /// Plain thresholds alone.
    pub(super) fn none() -> Self {
        Self {
            place: None,
            scorer: Ok(None),
            shadow: Ok(None),
        }
    }

    /// What the configuration names; each that cannot be used says why.
    pub(super) fn load(config: &Config) -> Result<Self, SourceError> {
        let place = Place::of(config.model.as_deref(), &config.models)?;
        // Looked at before it is read: what changes meanwhile is read again, as is what a registry cannot hand out now.
        let marks = place.marks().unwrap_or_default();
        let (model, shadow) = (place.model(), place.shadow());
        let unread = matches!(model, Err(SourceError::Registry(_)))
            || matches!(shadow, Err(SourceError::Registry(_)));
        Ok(Self {
            scorer: model.map(Some),
            shadow,
            place: Some((place, if unread { Marks::default() } else { marks })),
        })
    }
}

impl Running<'_> {
    /// Scores by this model from the next tick on, without a look at what it does.
    pub(super) fn set_model(&mut self, scorer: Arc<Scorer>) -> String {
        let done = format!("model {}", scorer.name());
        let tallies = &self.served.published.tallies;
        tallies.model_loads.fetch_add(1, Relaxed);
        self.probation.end();
        self.agent.set_scorer(Some(scorer.clone()));
        self.served.take_model(Some(scorer));
        done
    }

    /// Takes what the configuration names, and watches where it is from.
    pub(super) fn take_models(&mut self, models: Result<Models, SourceError>) {
        match models {
            Ok(models) => {
                self.take_model(models.scorer);
                self.take_shadow(models.shadow);
                self.watched = None;
                let every = Duration::from_secs(self.config.models.watch_s);
                if let Some((place, marks)) = models.place
                    && !every.is_zero()
                {
                    let (sender, news) = channel();
                    let wanted = Arc::new(());
                    model_source::watch(place, marks, every, Arc::downgrade(&wanted), sender);
                    self.watched = Some((news, wanted));
                }
            }
            Err(error) => self.take_model(Err(error)),
        }
    }

    /// Takes what is new where the models come from.
    pub(super) fn take_news(&mut self) {
        while let Some(news) = self
            .watched
            .as_ref()
            .and_then(|(news, _)| news.try_recv().ok())
        {
            match news {
                News::Model(scorer) => self.take_model(scorer.map(Some)),
                News::Shadow(scorer) => self.take_shadow(scorer),
                News::Away(error) => {
                    let text = format!("{error}; the model in force stays");
                    report::complain(&text);
                    self.tell_fault(text);
                }
                News::Back => report::note("the models' registry hands out models again"),
            }
        }
    }

    /// Takes a candidate to score beside the model.
    fn take_shadow(&mut self, scorer: Result<Option<Arc<Scorer>>, SourceError>) {
        match scorer {
            Ok(scorer) => {
                let name = scorer.as_ref().map(|scorer| scorer.name());
                if let Some(name) = name {
                    report::note(&format!("in the shadow: model {name}"));
                }
                self.shadow = scorer.clone();
                self.agent.set_shadow(scorer);
            }
            Err(error) => report::complain(&format!("nothing new in the shadow: {error}")),
        }
    }

    /// The former model returns where the new one raises far more alerts than were usual.
    pub(super) fn look_at_new_model(&mut self, now_us: u64) {
        let Some(too_many) = self.probation.look(&self.config.models, now_us) else {
            return;
        };
        let Some(former) = self.served.former() else {
            return;
        };
        let name = self.served.published.model().unwrap_or_default();
        let text = format!(
            "model {name} raised {} alerts where some {:.1} were usual: {} returns; if they are true, load it again (SIGHUP)",
            too_many.alerts,
            too_many.usual,
            former.name()
        );
        self.set_model(former);
        report::warn(&text);
        self.tell_fault(text);
    }

    /// Tells whether traffic still looks like what the model was trained on, where that is new.
    pub(super) fn look_at_drift(&self, epoch_us: u64, now_us: u64) {
        let drift = self.agent.drift().since_epoch(epoch_us);
        let Some(drift) = self.served.take_drift(drift) else {
            return;
        };
        match drift.state {
            // To the model of many networks any single one has drifted.
            State::Drifted if !self.served.scorer().is_some_and(|one| one.is_built_in()) => {
                report::warn(&drift.sentence());
            }
            _ => report::note(&drift.sentence()),
        }
        let line = serde_json::json!({
            "timestamp": Rfc3339(epoch_us + now_us).to_string(),
            "event_type": "drift",
            "detector": {
                "model": self.served.published.model(),
                "drift": drift,
            },
        });
        self.sinks.log(format!("{line}\n"));
    }

    /// Takes a model. One that cannot be used leaves the former, or at the start plain thresholds.
    fn take_model(&mut self, scorer: Result<Option<Arc<Scorer>>, SourceError>) {
        let tallies = &self.served.published.tallies;
        let wanted = !matches!(scorer, Ok(None));
        tallies.model_loads.fetch_add(wanted.into(), Relaxed);
        tallies
            .model_loads_failed
            .fetch_add(scorer.is_err().into(), Relaxed);
        match scorer {
            Ok(scorer) => {
                let name = scorer.as_ref().map(|scorer| scorer.name());
                if self.agent.has_model() && scorer.is_some() {
                    self.probation.begin(monotonic_ns() / 1000);
                }
                self.agent.set_scorer(scorer.clone());
                self.served.take_model(scorer);
                report::note(&match name {
                    Some(name) => format!("model {name}"),
                    None => "no model: plain thresholds alone".to_owned(),
                });
            }
            Err(error) => {
                let text = format!(
                    "{error}; {}",
                    if self.agent.has_model() {
                        "the former model stays in force"
                    } else {
                        "plain thresholds decide alone until a model can be loaded (SIGHUP)"
                    }
                );
                report::complain(&text);
                self.tell_fault(text);
            }
        }
    }
}
