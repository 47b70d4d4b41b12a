//! Where a registry lies: objects by path, in a directory or an object store.

use std::{path::Path as FilePath, sync::Arc, time::Duration};

use futures_util::TryStreamExt as _;
use object_store::{
    ObjectStore, ObjectStoreExt as _, PutMode, PutOptions, PutPayload, RetryConfig,
    aws::AmazonS3Builder, local::LocalFileSystem, memory::InMemory, path::Path,
};
use tokio::runtime::Runtime;

use super::error::RegistryError;

/// Failures are tried again for so long.
const RETRY: Duration = Duration::from_secs(30);

/// Where a registry lies. Each call waits for its answer: none is made where waiting would hurt.
pub struct Store {
    address: String,
    objects: Arc<dyn ObjectStore>,
    prefix: Path,
    runtime: Runtime,
}

impl Store {
    /// Opens a directory (it is made where it is missing), `file:///DIRECTORY` or `s3://BUCKET/PREFIX`. S3 takes its
    /// credentials, region and endpoint from the usual variables (`AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`,
    /// `AWS_REGION`, `AWS_ENDPOINT_URL`; `AWS_ALLOW_HTTP=true` for an endpoint without TLS).
    ///
    /// # Errors
    /// [`RegistryError::Address`].
    pub fn open(address: &str) -> Result<Self, RegistryError> {
        let refused = |cause: String| RegistryError::Address {
            address: address.to_owned(),
            cause,
        };
        let (objects, prefix): (Arc<dyn ObjectStore>, Path) = match address.split_once("://") {
            None => (
                directory(FilePath::new(address)).map_err(refused)?,
                Path::default(),
            ),
            Some(("file", path)) if path.starts_with('/') => (
                directory(FilePath::new(path)).map_err(refused)?,
                Path::default(),
            ),
            Some(("file", _)) => {
                return Err(refused("a file address begins with file:///".to_owned()));
            }
            Some(("s3", rest)) => {
                let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
                let prefix = Path::parse(prefix.trim_end_matches('/'))
                    .map_err(|error| refused(error.to_string()))?;
                (bucket_named(bucket).map_err(refused)?, prefix)
            }
            Some((scheme, _)) => {
                return Err(refused(format!("nothing is known of {scheme}://")));
            }
        };
        Self::new(address, objects, prefix)
    }

    /// One in this process's memory, for tests.
    ///
    /// # Errors
    /// [`RegistryError::Address`] where the process can start no thread.
    pub fn in_memory() -> Result<Self, RegistryError> {
        Self::new("memory", Arc::new(InMemory::new()), Path::default())
    }

    fn new(
        address: &str,
        objects: Arc<dyn ObjectStore>,
        prefix: Path,
    ) -> Result<Self, RegistryError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| RegistryError::Address {
                address: address.to_owned(),
                cause: error.to_string(),
            })?;
        Ok(Self {
            address: address.to_owned(),
            objects,
            prefix,
            runtime,
        })
    }

    /// As given.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The bytes of an object; `None` where there is none.
    ///
    /// # Errors
    /// [`RegistryError::Store`].
    pub fn get(&self, object: &str) -> Result<Option<Vec<u8>>, RegistryError> {
        let path = self.path(object)?;
        let read = async { self.objects.get(&path).await?.bytes().await };
        match self.runtime.block_on(read) {
            Ok(bytes) => Ok(Some(bytes.into())),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(self.failed("read", object, &error)),
        }
    }

    /// Writes an object that must not be there yet; whether it was not.
    ///
    /// # Errors
    /// [`RegistryError::Store`].
    pub fn create(&self, object: &str, bytes: Vec<u8>) -> Result<bool, RegistryError> {
        let path = self.path(object)?;
        let options = PutOptions::from(PutMode::Create);
        let write = self
            .objects
            .put_opts(&path, PutPayload::from(bytes), options);
        match self.runtime.block_on(write) {
            Ok(_) => Ok(true),
            Err(
                object_store::Error::AlreadyExists { .. }
                | object_store::Error::Precondition { .. },
            ) => Ok(false),
            Err(error) => Err(self.failed("write", object, &error)),
        }
    }

    /// Names of the folders and objects in a folder, sorted.
    ///
    /// # Errors
    /// [`RegistryError::Store`].
    pub fn list(&self, folder: &str) -> Result<Vec<String>, RegistryError> {
        let path = self.path(folder)?;
        let listed = self
            .runtime
            .block_on(self.objects.list_with_delimiter(Some(&path)));
        let listed = listed.map_err(|error| self.failed("list", folder, &error))?;
        let objects = listed.objects.into_iter().map(|object| object.location);
        let mut names: Vec<String> = listed
            .common_prefixes
            .into_iter()
            .chain(objects)
            .filter_map(|path| path.filename().map(str::to_owned))
            .collect();
        names.sort();
        Ok(names)
    }

    /// Removes everything in a folder.
    ///
    /// # Errors
    /// [`RegistryError::Store`].
    pub fn remove(&self, folder: &str) -> Result<(), RegistryError> {
        let path = self.path(folder)?;
        let remove = async {
            let all: Vec<_> = self.objects.list(Some(&path)).try_collect().await?;
            for object in all {
                self.objects.delete(&object.location).await?;
            }
            Ok(())
        };
        self.runtime
            .block_on(remove)
            .map_err(|error| self.failed("remove", folder, &error))
    }

    fn path(&self, object: &str) -> Result<Path, RegistryError> {
        let joined = format!("{}/{object}", self.prefix);
        Path::parse(joined.trim_matches('/')).map_err(|error| RegistryError::Word {
            what: "path",
            given: object.to_owned(),
            cause: error.to_string(),
        })
    }

    fn failed(
        &self,
        operation: &'static str,
        object: &str,
        error: &object_store::Error,
    ) -> RegistryError {
        RegistryError::Store {
            address: self.address.clone(),
            operation,
            object: if object.is_empty() {
                "its models"
            } else {
                object
            }
            .to_owned(),
            cause: error.to_string(),
        }
    }
}

fn directory(path: &FilePath) -> Result<Arc<dyn ObjectStore>, String> {
    std::fs::create_dir_all(path).map_err(|error| error.to_string())?;
    let store = LocalFileSystem::new_with_prefix(path).map_err(|error| error.to_string())?;
    Ok(Arc::new(store.with_fsync(true)))
}

fn bucket_named(bucket: &str) -> Result<Arc<dyn ObjectStore>, String> {
    if bucket.is_empty() {
        return Err("it names no bucket".to_owned());
    }
    // Which library does the arithmetic of TLS is the process's choice; a second one changes nothing.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let store = AmazonS3Builder::from_env()
        .with_bucket_name(bucket)
        .with_retry(RetryConfig {
            max_retries: 4,
            retry_timeout: RETRY,
            ..RetryConfig::default()
        })
        .build()
        .map_err(|error| error.to_string())?;
    Ok(Arc::new(store))
}
