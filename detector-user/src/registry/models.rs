//! The registry's calls.

use semver::Version;
use serde::de::DeserializeOwned;

use super::{
    changes::{Action, Change, Stage, Stages},
    entry::{Entry, sha256},
    error::RegistryError,
    gate::{Figures, Gate},
    store::Store,
};
use crate::model::Ensemble;

/// How often a change is tried while others change the same model.
const TRIES: usize = 16;

/// A registry of models.
pub struct Registry {
    store: Store,
}

/// What a promotion asks for.
pub struct Promotion<'a> {
    /// The stage.
    pub stage: Stage,
    /// By whom, and why.
    pub reason: &'a str,
    /// The gate in front of production, and what the candidate and the model in production showed. `None`: no gate, for
    /// whoever says so.
    pub gate: Option<(&'a Gate, &'a Figures, Option<&'a Figures>)>,
    /// Now, RFC 3339.
    pub at: &'a str,
}

impl Registry {
    /// Over a store.
    #[must_use]
    pub fn new(store: Store) -> Self {
        Self { store }
    }

    /// Where it lies, as given.
    #[must_use]
    pub fn address(&self) -> &str {
        self.store.address()
    }

    /// Takes a model in as the version that its card tells. `at` is now, RFC 3339.
    ///
    /// # Errors
    /// [`RegistryError`] where the model is broken, its name or version cannot stand here, or it is here already.
    pub fn push(&self, file: &[u8], at: &str) -> Result<Entry, RegistryError> {
        let ensemble = Ensemble::from_bytes(file).map_err(|cause| RegistryError::Model {
            what: "the model to be pushed".to_owned(),
            cause,
        })?;
        let card = ensemble.card();
        check_name(&card.name)?;
        let version = version(&card.version)?;
        let entry = Entry::new(card, version, file, at.to_owned());
        let folder = folder(&entry.name, &entry.version);
        let exists = || RegistryError::Exists {
            name: entry.name.clone(),
            version: entry.version.to_string(),
        };
        if self.store.get(&format!("{folder}/entry.json"))?.is_some() {
            return Err(exists());
        }
        let model = format!("{folder}/model.bin");
        // A push that was broken off left the model and no entry: the same bytes go on from there.
        if !self.store.create(&model, file.to_vec())?
            && self.store.get(&model)?.as_deref() != Some(file)
        {
            return Err(exists());
        }
        let text = serde_json::to_vec_pretty(&entry).unwrap_or_default();
        if !self.store.create(&format!("{folder}/entry.json"), text)? {
            return Err(exists());
        }
        Ok(entry)
    }

    /// Models, by name.
    ///
    /// # Errors
    /// [`RegistryError::Store`].
    pub fn names(&self) -> Result<Vec<String>, RegistryError> {
        self.store.list("")
    }

    /// Versions of a model, the newest last.
    ///
    /// # Errors
    /// [`RegistryError`] where there is no such model, or an entry is damaged.
    pub fn versions(&self, name: &str) -> Result<Vec<Entry>, RegistryError> {
        check_name(name)?;
        let mut entries = Vec::new();
        for version in self.store.list(&format!("{name}/versions"))? {
            // A push that was broken off has no entry.
            if let Some(entry) = self.read(&format!("{name}/versions/{version}/entry.json"))? {
                entries.push(entry);
            }
        }
        if entries.is_empty() {
            return Err(self.missing(format!("model {name}")));
        }
        entries.sort_by(|a: &Entry, b: &Entry| a.version.cmp(&b.version));
        Ok(entries)
    }

    /// One version.
    ///
    /// # Errors
    /// [`RegistryError`] where there is none, or its entry is damaged.
    pub fn entry(&self, name: &str, version: &Version) -> Result<Entry, RegistryError> {
        check_name(name)?;
        self.read(&format!("{}/entry.json", folder(name, version)))?
            .ok_or_else(|| self.missing(format!("{name} {version}")))
    }

    /// A version's file, as it was pushed.
    ///
    /// # Errors
    /// [`RegistryError`] where there is none, or it is not what was pushed.
    pub fn file(&self, entry: &Entry) -> Result<Vec<u8>, RegistryError> {
        let object = format!("{}/model.bin", folder(&entry.name, &entry.version));
        let file = self
            .store
            .get(&object)?
            .ok_or_else(|| self.missing(format!("file of {} {}", entry.name, entry.version)))?;
        if sha256(&file) == entry.sha256 {
            Ok(file)
        } else {
            Err(self.damaged(&object, "it is not what was pushed (its SHA-256 differs)"))
        }
    }

    /// Which version has which stage.
    ///
    /// # Errors
    /// [`RegistryError`] where the store fails, or the last change is damaged.
    pub fn stages(&self, name: &str) -> Result<Stages, RegistryError> {
        Ok(self.last_change(name)?.1)
    }

    /// All changes of a model, the last one last.
    ///
    /// # Errors
    /// [`RegistryError`] where the store fails, or a change is damaged.
    pub fn history(&self, name: &str) -> Result<Vec<Change>, RegistryError> {
        check_name(name)?;
        let mut all = Vec::new();
        for change in self.store.list(&format!("{name}/changes"))? {
            all.extend(self.read(&format!("{name}/changes/{change}"))?);
        }
        Ok(all)
    }

    /// Gives a version a stage. In front of production stands the gate.
    ///
    /// # Errors
    /// [`RegistryError::Gate`] where the gate stays shut, and where there is no such version or the store fails.
    pub fn promote(
        &self,
        entry: &Entry,
        promotion: &Promotion<'_>,
    ) -> Result<Stages, RegistryError> {
        let figures = match promotion.gate {
            Some((gate, candidate, production)) if promotion.stage == Stage::Production => {
                let reasons = gate.objections(candidate, production);
                if !reasons.is_empty() {
                    return Err(RegistryError::Gate {
                        name: entry.name.clone(),
                        version: entry.version.to_string(),
                        reasons,
                    });
                }
                Some(candidate.clone())
            }
            _ => None,
        };
        // What is promoted must be whole.
        self.file(entry)?;
        self.change(&entry.name, |stages| {
            stages.put(&entry.version, promotion.stage).then(|| Change {
                at: promotion.at.to_owned(),
                action: Action::Promote,
                version: entry.version.clone(),
                stage: promotion.stage,
                reason: promotion.reason.to_owned(),
                figures: figures.clone(),
                stages: stages.clone(),
            })
        })
    }

    /// Puts the version that was in production before back there; which it is.
    ///
    /// # Errors
    /// [`RegistryError`] where there was none, or the store fails.
    pub fn roll_back(&self, name: &str, reason: &str, at: &str) -> Result<Version, RegistryError> {
        let mut version = None;
        self.change(name, |stages| {
            version = stages.roll_back();
            version.clone().map(|version| Change {
                at: at.to_owned(),
                action: Action::Rollback,
                version,
                stage: Stage::Production,
                reason: reason.to_owned(),
                figures: None,
                stages: stages.clone(),
            })
        })?;
        version.ok_or_else(|| self.missing(format!("former version of {name}")))
    }

    /// Writes the next change, made from what holds now, again where somebody else was first. Nothing is written where
    /// `make` makes none.
    fn change(
        &self,
        name: &str,
        mut make: impl FnMut(&mut Stages) -> Option<Change>,
    ) -> Result<Stages, RegistryError> {
        for _ in 0..TRIES {
            let (number, mut stages) = self.last_change(name)?;
            let Some(change) = make(&mut stages) else {
                return Ok(stages);
            };
            let text = serde_json::to_vec_pretty(&change).unwrap_or_default();
            let object = format!("{name}/changes/{:010}.json", number + 1);
            if self.store.create(&object, text)? {
                return Ok(stages);
            }
        }
        Err(RegistryError::Busy {
            name: name.to_owned(),
        })
    }

    /// Number of the last change, 0 where there is none, and what holds since.
    fn last_change(&self, name: &str) -> Result<(u64, Stages), RegistryError> {
        check_name(name)?;
        let changes = self.store.list(&format!("{name}/changes"))?;
        let Some(last) = changes.last() else {
            return Ok((0, Stages::default()));
        };
        let object = format!("{name}/changes/{last}");
        let number = last
            .strip_suffix(".json")
            .and_then(|number| number.parse().ok())
            .ok_or_else(|| self.damaged(&object, "its name is no number"))?;
        let change: Change = self
            .read(&object)?
            .ok_or_else(|| self.damaged(&object, "it went away while it was read"))?;
        Ok((number, change.stages))
    }

    fn read<T: DeserializeOwned>(&self, object: &str) -> Result<Option<T>, RegistryError> {
        let Some(bytes) = self.store.get(object)? else {
            return Ok(None);
        };
        serde_json::from_slice(&bytes)
            .map(Some)
            .map_err(|error| self.damaged(object, &error.to_string()))
    }

    fn missing(&self, what: String) -> RegistryError {
        RegistryError::Missing {
            address: self.store.address().to_owned(),
            what,
        }
    }

    fn damaged(&self, object: &str, cause: &str) -> RegistryError {
        RegistryError::Damaged {
            address: self.store.address().to_owned(),
            object: object.to_owned(),
            cause: cause.to_owned(),
        }
    }
}

/// A semantic version.
///
/// # Errors
/// [`RegistryError::Word`].
pub fn version(text: &str) -> Result<Version, RegistryError> {
    Version::parse(text).map_err(|error| RegistryError::Word {
        what: "version",
        given: text.to_owned(),
        cause: format!("{error}; versions are like 1.2.0"),
    })
}

fn folder(name: &str, version: &Version) -> String {
    format!("{name}/versions/{version}")
}

/// A name is part of paths: letters, digits, `-`, `_` and `.`, and no dot first.
fn check_name(name: &str) -> Result<(), RegistryError> {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if (1..=64).contains(&name.len()) && name.chars().all(fits) && !name.starts_with('.') {
        return Ok(());
    }
    Err(RegistryError::Word {
        what: "name",
        given: name.to_owned(),
        cause: "names are 1 to 64 letters, digits, `-`, `_` and `.`, and no dot first".to_owned(),
    })
}
