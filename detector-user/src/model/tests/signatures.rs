//! Signed models.

use super::*;
use crate::model::{PublicKey, SecretKey, SignatureError, sign, signed_by, verify};

// Made for this test with `openssl genpkey -algorithm ed25519`.
const KEY: &str = "-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEIEIaYEDZPugkWEfXsz/O8C4OWeD4cl9uu+FWNVZbkbGK
-----END PRIVATE KEY-----";
const PUBLIC: &str = "-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEAeUKU6tjt0xbr3jWgFhKkKRPJ8/AYGrVg+uh/z5HRFSo=
-----END PUBLIC KEY-----";
const OTHER: &str = "-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEICxI+sJl9dExsQkdpPEdiII9/zxhbe+pcJfFqKmmHCUs
-----END PRIVATE KEY-----";

#[test]
fn a_signature_is_accepted_from_those_trusted_only() {
    let key = SecretKey::from_pem(KEY).unwrap();
    let public = PublicKey::from_pem(PUBLIC).unwrap();
    assert_eq!(key.public(), public);
    let plain = small().to_bytes().unwrap();
    let signed = sign(&plain, &key).unwrap();
    assert_eq!(Ensemble::from_bytes(&signed).unwrap(), small());
    let trusted = [public.clone()];
    assert_eq!(verify(&signed, &trusted).unwrap(), &public);
    assert_eq!(signed_by(&signed).unwrap(), Some(public));
    assert!(signed_by(&plain).unwrap().is_none());
    assert!(matches!(
        verify(&plain, &trusted),
        Err(SignatureError::Unsigned)
    ));
    // Signing again replaces.
    let other = sign(&signed, &SecretKey::from_pem(OTHER).unwrap()).unwrap();
    assert_eq!(other.len(), signed.len());
    assert!(matches!(
        verify(&other, &trusted),
        Err(SignatureError::OtherKey { .. })
    ));
    assert!(verify(&signed, &[]).is_err());
    // The signature of one model on another.
    let mut card = small().card;
    card.name.push('2');
    let mixed = small().with_card(card).unwrap().to_bytes().unwrap();
    let mixed = [&mixed[..], &signed[plain.len()..]].concat();
    assert!(matches!(
        Ensemble::from_bytes(&mixed),
        Err(ModelError::Signature(_))
    ));
    assert!(matches!(
        verify(&mixed, &trusted),
        Err(SignatureError::Altered)
    ));
    assert!(sign(&plain[..100], &key).is_err());
    assert!(SecretKey::from_pem(PUBLIC).is_err() && PublicKey::from_pem(KEY).is_err());
}

#[test]
fn every_bit_of_a_signed_model_matters() {
    let key = SecretKey::from_pem(KEY).unwrap();
    let trusted = [key.public()];
    let good = sign(&small().to_bytes().unwrap(), &key).unwrap();
    for bit in (0..good.len() * 8).step_by(53) {
        let mut changed = good.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        assert!(Ensemble::from_bytes(&changed).is_err(), "bit {bit}");
        assert!(verify(&changed, &trusted).is_err(), "bit {bit}");
    }
}
