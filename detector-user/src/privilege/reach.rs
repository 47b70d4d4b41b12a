//! What the agent may reach among files: where it reads, and the few places where it writes; all of it from the configuration.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use crate::{
    agent::{config, config::Config},
    output::sink,
    serve::settings::OFF,
};

/// What is read of any host: resolvers, gateways and interfaces, the kernel's and this process' state, certificates and libraries.
///
/// Reading is no boundary: who may load BPF programs with `CAP_PERFMON` can read all memory. Writing is.
pub(super) const SYSTEM: [&str; 8] = [
    "/etc", "/lib", "/lib64", "/proc", "/run", "/sys", "/usr", "/var/run",
];
/// Variables that name further files for an object store: credentials, certificates.
const VARIABLES: [&str; 4] = [
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "SSL_CERT_DIR",
    "SSL_CERT_FILE",
];

/// What is done at a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Files are read.
    Read,
    /// A file is made and appended to.
    Append,
    /// Files are made, renamed, read and removed.
    Store,
    /// Things are pinned, renamed and removed.
    Pin,
    /// The socket is removed at the end.
    Unlink,
}

/// A place that is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    key: &'static str,
    path: PathBuf,
    pub(super) access: Access,
    /// Folders, or a file that is no regular one; symbolic links resolved. None where nothing is there.
    pub(super) found: Vec<PathBuf>,
}

/// Everything that is reached.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reach {
    pub(super) places: Vec<Place>,
    /// Whether TCP connections are made.
    pub(super) connects: bool,
}

/// A configuration reaches beyond what the agent was confined to.
#[derive(Debug, thiserror::Error)]
pub enum Beyond {
    /// A file or folder.
    #[error(
        "{key} {}: the agent confined itself at its start to the files that were configured and there; this is not among them: \
         restart it to have it read there", path.display()
    )]
    Path {
        /// The configuration's key.
        key: &'static str,
        /// The file or folder.
        path: PathBuf,
    },
    /// The network.
    #[error(
        "models.registry {address}: the agent confined itself at its start to make no TCP connection; restart it to have it reach there"
    )]
    Connection {
        /// The registry.
        address: String,
    },
}

impl Reach {
    /// What this configuration reaches. A registry's directory that is missing is made, as the registry does.
    #[must_use]
    pub fn of(config: &Config, file: Option<&Path>, pins: &Path) -> Self {
        let mut reach = Self::to_read(config, file);
        if let Some(Ok(sink::Place::File(path))) = config.events.as_deref().map(str::parse) {
            reach.add("events", &path, Access::Append);
        }
        if let Some(folder) = &config.archive.folder {
            reach.add_folder("archive.folder", folder, Access::Store);
        }
        if config.nats.url.is_some() {
            reach.connects = true;
            for (key, file) in [
                ("nats.credentials", &config.nats.credentials),
                ("nats.tls_ca", &config.nats.tls_ca),
            ] {
                if let Some(file) = file {
                    reach.add(key, file, Access::Read);
                }
            }
        }
        if config.kubernetes.pod_names {
            reach.connects = true;
            if let Some(file) = &config.kubernetes.kubeconfig {
                reach.add("kubernetes.kubeconfig", file, Access::Read);
            }
        }
        if config.api.socket != OFF {
            reach.add("api.socket", Path::new(&config.api.socket), Access::Unlink);
        }
        // Its parent: `detector detach` removes the directory itself, and attaching makes it again.
        reach.add("--pin-dir", pins, Access::Pin);
        reach
    }

    /// What of it can change with a reload.
    fn to_read(config: &Config, file: Option<&Path>) -> Self {
        let mut reach = Self::default();
        let file = file.unwrap_or(Path::new(config::PATH));
        reach.add("--config", file, Access::Read);
        if let Some(model) = &config.model {
            reach.add("model", model, Access::Read);
        }
        let models = &config.models;
        if let Some(shadow) = models.shadow_file() {
            reach.add("models.shadow", shadow, Access::Read);
        }
        if let Some(key) = &models.public_key {
            reach.add("models.public_key", key, Access::Read);
        }
        match (&models.registry, models.registry_directory()) {
            (_, Some(directory)) => reach.add_folder("models.registry", directory, Access::Read),
            (Some(_), None) => {
                reach.connects = true;
                for variable in VARIABLES {
                    if let Some(path) = env::var_os(variable) {
                        reach.add(variable, Path::new(&path), Access::Read);
                    }
                }
            }
            (None, None) => {}
        }
        reach
    }

    /// A folder, which is made where it is missing. Where it cannot be made, who uses it says why.
    fn add_folder(&mut self, key: &'static str, path: &Path, access: Access) {
        let _ = fs::create_dir_all(path);
        self.places.push(Place {
            key,
            path: path.to_owned(),
            access,
            found: path.canonicalize().into_iter().collect(),
        });
    }

    /// A file that may be replaced by another of its name: its folder, and that of what it is a symbolic link to.
    fn add(&mut self, key: &'static str, path: &Path, access: Access) {
        let place = fs::canonicalize(path);
        let found = match &place {
            // A device or a pipe.
            Ok(place) if !place.is_file() && !place.is_dir() && access != Access::Unlink => {
                vec![place.clone()]
            }
            _ => {
                let behind = place
                    .as_deref()
                    .ok()
                    .and_then(Path::parent)
                    .map(Path::to_owned);
                let mut folders: Vec<PathBuf> = folder(path).into_iter().chain(behind).collect();
                folders.dedup();
                folders
            }
        };
        self.places.push(Place {
            key,
            path: path.to_owned(),
            access,
            found,
        });
    }

    /// Makes sure that the configuration file can be read again.
    ///
    /// # Errors
    /// [`Beyond`] where it is now a symbolic link to somewhere else.
    pub fn covers_file(&self, file: Option<&Path>) -> Result<(), Beyond> {
        self.covers_all(&Self::to_read(&Config::default(), file))
    }

    /// Makes sure that another configuration can be taken without a restart.
    ///
    /// # Errors
    /// [`Beyond`] names what this does not reach.
    pub fn covers(&self, config: &Config, file: Option<&Path>) -> Result<(), Beyond> {
        let wanted = Self::to_read(config, file);
        self.covers_all(&wanted)?;
        match &config.models.registry {
            Some(address) if wanted.connects && !self.connects => Err(Beyond::Connection {
                address: address.clone(),
            }),
            _ => Ok(()),
        }
    }

    fn covers_all(&self, wanted: &Self) -> Result<(), Beyond> {
        for place in &wanted.places {
            let reached = match &place.found[..] {
                // Of what was missing before, too, the reader tells.
                [] => self.may_read(&place.path) || self.knows(place),
                found => found.iter().all(|found| self.may_read(found)),
            };
            if !reached {
                return Err(Beyond::Path {
                    key: place.key,
                    path: place.path.clone(),
                });
            }
        }
        Ok(())
    }

    fn knows(&self, wanted: &Place) -> bool {
        let mut places = self.places.iter();
        places.any(|place| (place.key, &place.path) == (wanted.key, &wanted.path))
    }

    fn may_read(&self, path: &Path) -> bool {
        let system = SYSTEM.iter().map(Path::new);
        let places = self.places.iter();
        let own = places.filter(|place| matches!(place.access, Access::Read | Access::Pin));
        system
            .chain(own.flat_map(|place| place.found.iter().map(PathBuf::as_path)))
            .any(|allowed| path.starts_with(allowed))
    }
}

/// The folder that a path is in, symbolic links resolved.
fn folder(path: &Path) -> Option<PathBuf> {
    let parent = match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
        None => path,
    };
    parent.canonicalize().ok()
}
