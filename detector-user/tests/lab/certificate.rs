//! A server's certificate that it signed itself.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

/// Makes `certificate.pem` and `key.pem` for 127.0.0.1 in a folder. The certificate is its own authority.
pub fn certify(folder: &Path) -> (PathBuf, PathBuf) {
    let made = Command::new("openssl")
        .current_dir(folder)
        .args(["req", "-x509", "-newkey", "ec", "-nodes", "-days", "2"])
        .args(["-pkeyopt", "ec_paramgen_curve:P-256"])
        .args(["-subj", "/CN=localhost"])
        .args(["-addext", "subjectAltName=IP:127.0.0.1"])
        .args(["-addext", "basicConstraints=critical,CA:FALSE"])
        .args(["-keyout", "key.pem", "-out", "certificate.pem"])
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
    (folder.join("certificate.pem"), folder.join("key.pem"))
}
