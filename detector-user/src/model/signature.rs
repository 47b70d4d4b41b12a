//! Who made a model: an Ed25519 signature behind the end of its file.
//!
//! Signed is the header, whose checksum is of all the rest. A file's own signature is checked at each load, which says no
//! more than that it was not altered; that the one who signed is trusted is for [`verify`], with that one's public key.

use ed25519_dalek::{
    SIGNATURE_LENGTH, Signature, Signer as _, SigningKey, VerifyingKey,
    pkcs8::{DecodePrivateKey as _, DecodePublicKey as _},
};

use super::{card::hexadecimal, error::ModelError, file::HEADER_BYTES};

/// What a signature begins with. A file without one ends with JSON, in which no byte is 0.
const MAGIC: [u8; 8] = *b"detsign\0";
/// What is signed begins with this, so that the key's other signatures mean nothing here.
const CONTEXT: &[u8] = b"detector model\0";
const KEY_BYTES: usize = 32;
/// Magic, public key, signature.
const TRAILER_BYTES: usize = MAGIC.len() + KEY_BYTES + SIGNATURE_LENGTH;

/// Why a signature, or a key, is not accepted.
#[derive(Debug, thiserror::Error)]
pub enum SignatureError {
    /// There is none.
    #[error(
        "the model is not signed, and a signature is demanded; sign it with `detector model sign`"
    )]
    Unsigned,
    /// It is of something else.
    #[error(
        "the model's signature does not fit its contents; it was altered after it was signed, get it again from who signed it"
    )]
    Altered,
    /// It is somebody else's.
    #[error(
        "the model was signed with the key {found}, which is not among those accepted; get it from who holds an accepted key"
    )]
    OtherKey {
        /// The public key, in hexadecimal digits.
        found: String,
    },
    /// That is no key.
    #[error(
        "that is no {0} in PEM; make a pair with `openssl genpkey -algorithm ed25519` and `openssl pkey -pubout`"
    )]
    Key(&'static str),
    /// What was signed is no model.
    #[error(transparent)]
    Model(#[from] Box<ModelError>),
}

/// What signatures are made with.
pub struct SecretKey(SigningKey);

impl SecretKey {
    /// Of a PKCS #8 private key in PEM, as OpenSSL writes it.
    ///
    /// # Errors
    /// [`SignatureError::Key`].
    pub fn from_pem(pem: &str) -> Result<Self, SignatureError> {
        let key = SigningKey::from_pkcs8_pem(pem.trim());
        key.map(Self)
            .map_err(|_| SignatureError::Key("Ed25519 private key"))
    }

    /// The key that accepts its signatures.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key())
    }
}

/// Whose signatures are accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey(VerifyingKey);

impl PublicKey {
    /// Of a public key in PEM, as `openssl pkey -pubout` writes it.
    ///
    /// # Errors
    /// [`SignatureError::Key`].
    pub fn from_pem(pem: &str) -> Result<Self, SignatureError> {
        let key = VerifyingKey::from_public_key_pem(pem.trim());
        key.map(Self)
            .map_err(|_| SignatureError::Key("Ed25519 public key"))
    }

    /// In hexadecimal digits.
    #[must_use]
    pub fn name(&self) -> String {
        hexadecimal(self.0.as_bytes())
    }
}

/// A file without its signature, and that.
pub(super) fn split(file: &[u8]) -> (&[u8], Option<&[u8; TRAILER_BYTES]>) {
    match file.split_last_chunk::<TRAILER_BYTES>() {
        Some((model, trailer)) if trailer.starts_with(&MAGIC) && model.len() >= HEADER_BYTES => {
            (model, Some(trailer))
        }
        _ => (file, None),
    }
}

fn message(model: &[u8]) -> Vec<u8> {
    [CONTEXT, &model[..HEADER_BYTES]].concat()
}

/// The key that a trailer names, if its signature is that key's of this model's header.
pub(super) fn signer(
    model: &[u8],
    trailer: &[u8; TRAILER_BYTES],
) -> Result<PublicKey, SignatureError> {
    let (key, signature) = trailer[MAGIC.len()..].split_at(KEY_BYTES);
    let parts = key
        .try_into()
        .ok()
        .and_then(|key| VerifyingKey::from_bytes(key).ok());
    let (Some(key), Ok(signature)) = (parts, Signature::from_slice(signature)) else {
        return Err(SignatureError::Altered);
    };
    key.verify_strict(&message(model), &signature)
        .map_err(|_| SignatureError::Altered)?;
    Ok(PublicKey(key))
}

/// The file of a model with a signature, in place of one it may have.
///
/// # Errors
/// [`SignatureError::Model`] where it is no model.
pub fn sign(file: &[u8], key: &SecretKey) -> Result<Vec<u8>, SignatureError> {
    let (model, _) = split(file);
    super::Ensemble::from_bytes(model).map_err(Box::new)?;
    let signature = key.0.sign(&message(model)).to_bytes();
    Ok([model, &MAGIC, key.public().0.as_bytes(), &signature].concat())
}

/// Whether the file of a model is whole and signed with one of these keys; which.
///
/// # Errors
/// [`SignatureError`].
pub fn verify<'a>(file: &[u8], accepted: &'a [PublicKey]) -> Result<&'a PublicKey, SignatureError> {
    let (model, trailer) = split(file);
    let found = signer(model, trailer.ok_or(SignatureError::Unsigned)?)?;
    // The signature is of the checksum: what that is of is checked here.
    super::Ensemble::from_bytes(model).map_err(Box::new)?;
    let same = accepted.iter().find(|key| **key == found);
    same.ok_or_else(|| SignatureError::OtherKey {
        found: found.name(),
    })
}

/// Who signed the file of a model, if anybody.
///
/// # Errors
/// [`SignatureError::Altered`].
pub fn signed_by(file: &[u8]) -> Result<Option<PublicKey>, SignatureError> {
    let (model, trailer) = split(file);
    trailer.map(|trailer| signer(model, trailer)).transpose()
}
