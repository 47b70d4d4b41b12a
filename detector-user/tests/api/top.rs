//! `detector top` without a screen.

use std::process::Command;

use crate::stage::Stage;

#[test]
fn top_shows_what_goes_on_where_there_is_no_screen() {
    let Some(stage) = Stage::new(&["--enforce", "--no-model"], "") else {
        return;
    };
    stage.scan([10, 0, 0, 9]);
    stage.await_alert("scan", "drop");
    let top = |socket: &std::path::Path| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_detector"));
        command.args(["top", "--once", "--socket"]).arg(socket);
        command.output().unwrap()
    };
    let output = top(&stage.socket());
    let text = String::from_utf8(output.stdout).unwrap();
    for part in [
        "enforcing",
        "10.0.0.9:40000",
        "10.0.0.9  drop",
        "scan  drop",
        "200 seen",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let output = top(&stage.folder.join("nobody.sock"));
    assert_eq!(output.status.code(), Some(69), "{output:?}");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        said.contains("nobody.sock") && said.contains("is it running"),
        "{said}"
    );
}
