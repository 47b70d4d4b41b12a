//! Who the agent is to a NATS server that asks: credentials as `nsc` writes them, made here by hand.

use std::fmt::Write as _;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ed25519_dalek::{Signer as _, SigningKey};
use serde_json::{Value, json};

/// First bytes of keys as NATS writes them.
const OPERATOR: u8 = 14 << 3;
const ACCOUNT: u8 = 0;
const USER: u8 = 20 << 3;
const SEED: u8 = 18 << 3;

/// A key of an operator, an account or a user.
struct Key {
    kind: u8,
    secret: SigningKey,
}

impl Key {
    /// Always the same for a number: there is nothing to keep secret.
    fn new(kind: u8, number: u8) -> Self {
        let secret = SigningKey::from_bytes(&[number; 32]);
        Self { kind, secret }
    }

    fn public(&self) -> String {
        let mut bytes = vec![self.kind];
        bytes.extend(self.secret.verifying_key().as_bytes());
        checked(bytes)
    }

    fn seed(&self) -> String {
        let mut bytes = vec![SEED | self.kind >> 5, self.kind << 3];
        bytes.extend(self.secret.to_bytes());
        checked(bytes)
    }

    /// What this key says about a subject.
    fn token(&self, subject: &Key, name: &str, nats: Value) -> String {
        let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let header = part(json!({ "typ": "JWT", "alg": "ed25519-nkey" }));
        let claims = part(json!({
            "jti": name, "iat": 1, "iss": self.public(), "name": name, "sub": subject.public(), "nats": nats,
        }));
        let said = format!("{header}.{claims}");
        let signature = URL_SAFE_NO_PAD.encode(self.secret.sign(said.as_bytes()).to_bytes());
        format!("{said}.{signature}")
    }
}

/// Base 32 (RFC 4648) of bytes and their CRC-16 (XMODEM), the lower byte first.
fn checked(mut bytes: Vec<u8>) -> String {
    let sum = bytes.iter().fold(0_u16, |sum, byte| {
        (0..8).fold(sum ^ u16::from(*byte) << 8, |sum, _| {
            if sum & 0x8000 == 0 {
                sum << 1
            } else {
                sum << 1 ^ 0x1021
            }
        })
    });
    bytes.extend(sum.to_le_bytes());
    let bits: String = bytes.iter().fold(String::new(), |mut bits, byte| {
        write!(bits, "{byte:08b}").unwrap();
        bits
    });
    let digit = |five: &[u8]| {
        let five = std::str::from_utf8(five).unwrap();
        let n = usize::from_str_radix(&format!("{five:0<5}"), 2).unwrap();
        char::from(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"[n])
    };
    bits.as_bytes().chunks(5).map(digit).collect()
}

/// A server's configuration under which only one user may come, and that user's credentials.
pub fn configuration_and_credentials() -> (String, String) {
    let operator = Key::new(OPERATOR, 1);
    let (system, account) = (Key::new(ACCOUNT, 2), Key::new(ACCOUNT, 3));
    let user = Key::new(USER, 4);
    let unlimited = |stored: i64| {
        json!({
            "type": "account", "version": 2,
            "default_permissions": { "pub": {}, "sub": {} },
            "limits": {
                "subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1, "wildcards": true, "conn": -1,
                "leaf": -1, "mem_storage": stored, "disk_storage": stored, "streams": stored, "consumer": stored,
            },
        })
    };
    let of_operator =
        json!({ "type": "operator", "version": 2, "system_account": system.public() });
    let of_user = json!({
        "type": "user", "version": 2, "pub": {}, "sub": {}, "subs": -1, "data": -1, "payload": -1,
    });
    let configuration = format!(
        "operator: {}\nresolver: MEMORY\nresolver_preload: {{\n {}: {}\n {}: {}\n}}\n",
        operator.token(&operator, "operator", of_operator),
        system.public(),
        operator.token(&system, "system", unlimited(0)),
        account.public(),
        operator.token(&account, "account", unlimited(-1)),
    );
    let credentials = format!(
        "-----BEGIN NATS USER JWT-----\n{}\n------END NATS USER JWT------\n\n\
         -----BEGIN USER NKEY SEED-----\n{}\n------END USER NKEY SEED------\n",
        account.token(&user, "agent", of_user),
        user.seed(),
    );
    (configuration, credentials)
}
