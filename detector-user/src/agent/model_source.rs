//! Where the agent's models come from, and the watch over that place.

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::{Arc, Weak, mpsc::Sender},
    thread,
    time::Duration,
};

use semver::Version;
use serde::{Deserialize, Serialize};

use crate::{
    model::{PublicKey, SignatureError, verify},
    registry::{Registry, RegistryError, Stages, Store},
    score::{self, Scorer, ScorerError},
};

/// The configuration's section `models`.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct ModelSettings {
    /// A registry whose version in production is run: a directory, `file:///DIRECTORY` or `s3://BUCKET/PREFIX`.
    pub registry: Option<String>,
    /// Which of its models.
    pub name: String,
    /// The registry, or the model file, is looked at so often, s; 0: never.
    pub watch_s: u64,
    /// File of an Ed25519 public key in PEM: only models that were signed with its secret are taken, the built-in one aside.
    pub public_key: Option<PathBuf>,
    /// A model to score beside the one in force: a file, or `staging` for the registry's version in staging.
    pub shadow: Option<String>,
    /// For how long the alerts of a new model are watched, s; 0: not at all.
    pub probation_s: u64,
    /// So many alerts in that time are never too many.
    pub probation_alerts_min: u32,
    /// More than so many times the alerts that were usual are too many: the former model returns.
    pub probation_factor: f64,
}

impl Default for ModelSettings {
    fn default() -> Self {
        Self {
            registry: None,
            name: "default".to_owned(),
            watch_s: 5,
            public_key: None,
            shadow: None,
            probation_s: 600,
            probation_alerts_min: 20,
            probation_factor: 5.0,
        }
    }
}

impl ModelSettings {
    /// The file that is named as shadow, if one is.
    #[must_use]
    pub fn shadow_file(&self) -> Option<&Path> {
        let shadow = self.shadow.as_deref();
        shadow.filter(|shadow| *shadow != STAGING).map(Path::new)
    }

    /// The registry's directory; `None` where there is no registry, or it is an object store.
    #[must_use]
    pub fn registry_directory(&self) -> Option<&Path> {
        let address = self.registry.as_deref()?;
        match address.split_once("://") {
            None => Some(Path::new(address)),
            Some(("file", path)) => Some(Path::new(path)),
            Some(_) => None,
        }
    }
}

/// As [`ModelSettings::shadow`] names the version in staging.
const STAGING: &str = "staging";

/// Why there is no model from a place.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The model.
    #[error(transparent)]
    Scorer(#[from] ScorerError),
    /// The registry.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// Nothing is in production.
    #[error(
        "the registry at {address} has no version of {name} in production: `detector model promote` puts one there"
    )]
    NoProduction {
        /// Which registry.
        address: String,
        /// Which model.
        name: String,
    },
    /// The key that models must be signed with.
    #[error("models.public_key {}: {cause}", path.display())]
    Key {
        /// Its file.
        path: PathBuf,
        /// What is wrong.
        cause: String,
    },
    /// A model is not signed as is demanded.
    #[error("model {path}: {cause}")]
    Signature {
        /// From where.
        path: String,
        /// What is wrong.
        cause: SignatureError,
    },
    /// The settings contradict each other.
    #[error("{0}")]
    Settings(&'static str),
}

/// A place that models come from.
pub struct Place {
    model: Kind,
    shadow: Option<Kind>,
    /// Only models that were signed with one of these; none: any.
    keys: Vec<PublicKey>,
}

enum Kind {
    BuiltIn,
    File(PathBuf),
    Registry {
        registry: Arc<Registry>,
        name: String,
        staging: bool,
    },
}

/// What tells one state of a place from the next.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Marks {
    model: String,
    shadow: String,
}

impl Place {
    /// As configured; `file` is a model file, if one is named.
    ///
    /// # Errors
    /// [`SourceError`] where the settings contradict each other, or the registry's address says nothing.
    pub fn of(file: Option<&Path>, settings: &ModelSettings) -> Result<Self, SourceError> {
        if file.is_some() && settings.registry.is_some() {
            return Err(SourceError::Settings(
                "a model file and models.registry are both named: name one",
            ));
        }
        let registry = settings.registry.as_deref().map(Store::open).transpose()?;
        let registry = registry.map(|store| Arc::new(Registry::new(store)));
        let from_registry = |staging| {
            registry.clone().map(|registry| Kind::Registry {
                registry,
                name: settings.name.clone(),
                staging,
            })
        };
        let model = from_registry(false)
            .or_else(|| file.map(|file| Kind::File(file.to_owned())))
            .unwrap_or(Kind::BuiltIn);
        let shadow = match settings.shadow.as_deref() {
            Some(STAGING) => Some(from_registry(true).ok_or(SourceError::Settings(
                "models.shadow is staging, and models.registry names no registry",
            ))?),
            Some(file) => Some(Kind::File(file.into())),
            None => None,
        };
        let keys = settings.public_key.as_deref().map(read_key).transpose()?;
        Ok(Self {
            model,
            shadow,
            keys: keys.into_iter().collect(),
        })
    }

    /// What tells this state of the place from the next.
    ///
    /// # Errors
    /// [`SourceError`] where the registry cannot be read.
    pub fn marks(&self) -> Result<Marks, SourceError> {
        Ok(Marks {
            model: self.model.mark()?,
            shadow: self
                .shadow
                .as_ref()
                .map(Kind::mark)
                .transpose()?
                .unwrap_or_default(),
        })
    }

    /// The model, checked.
    ///
    /// # Errors
    /// [`SourceError`].
    pub fn model(&self) -> Result<Arc<Scorer>, SourceError> {
        match (self.model.load(&self.keys)?, &self.model) {
            (Some(scorer), _) => Ok(scorer),
            (None, Kind::Registry { registry, name, .. }) => Err(SourceError::NoProduction {
                address: registry.address().to_owned(),
                name: name.clone(),
            }),
            (None, _) => Err(SourceError::Settings("there is no model")),
        }
    }

    /// The model to score beside it, if there is one.
    ///
    /// # Errors
    /// [`SourceError`].
    pub fn shadow(&self) -> Result<Option<Arc<Scorer>>, SourceError> {
        let Some(shadow) = &self.shadow else {
            return Ok(None);
        };
        shadow.load(&self.keys)
    }

    /// What is new since `seen`, which it brings up to date. What a registry could not hand out is not seen: the next
    /// look tries it again.
    fn look(&self, seen: &mut Marks) -> Result<Vec<News>, SourceError> {
        let marks = self.marks()?;
        let mut news = Vec::new();
        if marks.model != seen.model {
            match self.model() {
                Err(error @ SourceError::Registry(_)) => return Err(error),
                model => news.push(News::Model(model)),
            }
            seen.model = marks.model;
        }
        if marks.shadow != seen.shadow {
            match self.shadow() {
                // The model beside it, if there is a new one, is told of first.
                Err(SourceError::Registry(_)) if !news.is_empty() => return Ok(news),
                Err(error @ SourceError::Registry(_)) => return Err(error),
                shadow => news.push(News::Shadow(shadow)),
            }
            seen.shadow = marks.shadow;
        }
        Ok(news)
    }
}

impl Kind {
    fn mark(&self) -> Result<String, SourceError> {
        Ok(match self {
            Self::BuiltIn => String::new(),
            // One that is missing has a mark, too.
            Self::File(path) => fs::metadata(path).map_or_else(
                |_| "missing".to_owned(),
                |file| {
                    format!(
                        "{} {} {} {}",
                        file.ino(),
                        file.size(),
                        file.mtime(),
                        file.mtime_nsec()
                    )
                },
            ),
            Self::Registry { registry, name, .. } => self
                .version(&registry.stages(name)?)
                .map_or_else(String::new, ToString::to_string),
        })
    }

    fn version<'a>(&self, stages: &'a Stages) -> Option<&'a Version> {
        match self {
            Self::Registry { staging: true, .. } => stages.staging.as_ref(),
            _ => stages.production.as_ref(),
        }
    }

    fn load(&self, keys: &[PublicKey]) -> Result<Option<Arc<Scorer>>, SourceError> {
        let (file, place) = match self {
            Self::BuiltIn => return Ok(Some(Arc::new(Scorer::of(None)?))),
            Self::File(path) => (score::read(path)?, path.display().to_string()),
            Self::Registry { registry, name, .. } => {
                let stages = registry.stages(name)?;
                let Some(version) = self.version(&stages) else {
                    return Ok(None);
                };
                let file = registry.file(&registry.entry(name, version)?)?;
                (file, format!("{}/{name} {version}", registry.address()))
            }
        };
        if !keys.is_empty() {
            verify(&file, keys).map_err(|cause| SourceError::Signature {
                path: place.clone(),
                cause,
            })?;
        }
        Ok(Some(Arc::new(Scorer::from_bytes(&file, &place)?)))
    }
}

fn read_key(path: &Path) -> Result<PublicKey, SourceError> {
    let refused = |cause: &dyn std::fmt::Display| SourceError::Key {
        path: path.to_owned(),
        cause: cause.to_string(),
    };
    let pem = fs::read_to_string(path).map_err(|error| refused(&error))?;
    PublicKey::from_pem(&pem).map_err(|error| refused(&error))
}

/// What is new at a watched place.
pub enum News {
    /// Another model, or why it cannot be used.
    Model(Result<Arc<Scorer>, SourceError>),
    /// Another shadow, or none, or why it cannot be used.
    Shadow(Result<Option<Arc<Scorer>>, SourceError>),
    /// The place cannot be looked at; told once.
    Away(SourceError),
    /// It can be again.
    Back,
}

/// Watches a place on a thread of its own while `wanted` is held; `seen` is its state as it was loaded last.
pub fn watch(place: Place, mut seen: Marks, every: Duration, wanted: Weak<()>, news: Sender<News>) {
    thread::spawn(move || {
        let mut away = false;
        while wanted.strong_count() > 0 {
            thread::sleep(every);
            let told = match place.look(&mut seen) {
                Ok(told) => std::mem::take(&mut away)
                    .then_some(News::Back)
                    .into_iter()
                    .chain(told)
                    .collect(),
                Err(error) if !std::mem::replace(&mut away, true) => vec![News::Away(error)],
                Err(_) => Vec::new(),
            };
            if told.into_iter().any(|told| news.send(told).is_err()) {
                return;
            }
        }
    });
}
