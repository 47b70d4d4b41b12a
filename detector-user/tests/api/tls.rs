//! Changes over TCP: with TLS and the token, and never without.

use std::{
    fs,
    process::{Command, Output},
};

use crate::{
    lab::{certificate::certify, skip},
    stage::Stage,
};

const TOKEN: &str = "a-token-that-nobody-guesses-4711";

fn has(tool: &str) -> bool {
    let found = Command::new(tool).arg("--version").output().is_ok()
        || Command::new(tool).arg("version").output().is_ok();
    if !found {
        skip(&format!("needs the program {tool}"));
    }
    found
}

#[test]
fn tls_and_the_token_open_tcp_for_changes() {
    if !has("openssl") || !has("curl") {
        return;
    }
    let folder = std::env::temp_dir().join(format!("detector-api-tls-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    certify(&folder);
    fs::write(folder.join("token"), format!("{TOKEN}\n")).unwrap();
    let at = |name: &str| folder.join(name).display().to_string();
    let api = format!(
        "tls_certificate = {:?}\ntls_key = {:?}\ntoken_file = {:?}",
        at("certificate.pem"),
        at("key.pem"),
        at("token")
    );
    let Some(stage) = Stage::new(&["--no-model"], &api) else {
        return;
    };
    let curl = |arguments: &[&str]| -> Output {
        stage.server.within(|| {
            Command::new("curl")
                .args(["-sS", "-m", "10", "-w", "\n%{http_code}", "--cacert"])
                .arg(folder.join("certificate.pem"))
                .args(arguments)
                .output()
                .unwrap()
        })
    };
    let code = |output: &Output| -> String {
        let text = String::from_utf8_lossy(&output.stdout);
        text.lines().last().unwrap_or_default().to_owned()
    };
    let read = curl(&["https://127.0.0.1:9190/api/v1/status"]);
    assert_eq!(code(&read), "200", "{read:?}");
    assert!(String::from_utf8_lossy(&read.stdout).contains("\"changes\":\"token\""));
    let verdicts = "https://127.0.0.1:9190/api/v1/verdicts";
    let body = r#"{"address":"10.0.0.7","action":"drop"}"#;
    assert_eq!(code(&curl(&["-d", body, verdicts])), "401");
    let wrong = "Authorization: Bearer a-token-that-nobody-guesses-4712";
    assert_eq!(code(&curl(&["-H", wrong, "-d", body, verdicts])), "401");
    let right = format!("Authorization: Bearer {TOKEN}");
    assert_eq!(code(&curl(&["-H", &right, "-d", body, verdicts])), "201");
    // In clear there is nothing to be had.
    assert_ne!(code(&curl(&["http://127.0.0.1:9190/livez"])), "200");
    let events = fs::read_to_string(stage.folder.join("eve.json")).unwrap_or_default();
    for text in [stage.log(), events] {
        assert!(!text.contains(TOKEN), "{text}");
    }
    drop(stage);

    // A token without TLS is refused: the socket serves, TCP does not.
    let api = format!("token_file = {:?}", at("token"));
    let Some(stage) = Stage::new(&["--no-model"], &api) else {
        return;
    };
    stage.hear("a token is not sent in clear");
    assert_eq!(stage.ask("GET", "/livez", b"").status, 200);
    let refused = stage
        .server
        .within(|| std::net::TcpStream::connect(crate::stage::TCP));
    assert!(refused.is_err());
    fs::remove_dir_all(&folder).unwrap();
}
