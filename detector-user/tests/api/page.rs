//! The page in a real browser: its numbers are those of the API.

use std::process::Command;

use serde_json::Value;

use crate::{
    lab::{skip, wait_for},
    stage::{SECONDS, Stage},
};

/// Where a picture of the page is put, if it is asked for.
const PICTURE: &str = "DETECTOR_TEST_PICTURE";

/// A browser without a window, on a user of its own.
fn browser(stage: &Stage, arguments: &[&str]) -> Option<String> {
    let output = stage.server.within(|| {
        Command::new("timeout")
            .args([
                "60",
                "chromium",
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--no-first-run",
            ])
            .arg("--disable-dev-shm-usage")
            .arg(format!(
                "--user-data-dir={}",
                stage.folder.join("browser").display()
            ))
            // The page never stops asking: it is looked at after so much of its own time.
            .args(["--virtual-time-budget=6000", "--window-size=1400,1500"])
            .args(arguments)
            .arg("http://127.0.0.1:9190/#poll")
            .output()
    });
    let output = output
        .ok()
        .filter(|output| output.status.code() != Some(127))?;
    Some(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The values of the page's elements that show a field of the API: its path, and the value as the API has it.
fn fields(page: &str, attribute: &str) -> Vec<(String, String)> {
    let value = |element: &str, name: &str| {
        let (_, rest) = element.split_once(&format!("{name}=\""))?;
        Some(rest.split('"').next()?.to_owned())
    };
    let elements = page
        .split('<')
        .filter(|element| element.contains(attribute));
    elements
        .filter_map(|element| Some((value(element, attribute)?, value(element, "data-raw")?)))
        .collect()
}

fn text(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}

#[test]
fn the_numbers_on_the_page_are_those_of_the_api() {
    let Some(stage) = Stage::new(&["--enforce"], "") else {
        return;
    };
    if Command::new("chromium").arg("--version").output().is_err() {
        return skip("needs the program chromium");
    }
    stage.scan([10, 0, 0, 9]);
    stage.await_alert("scan", "drop");
    stage.scan([10, 0, 0, 9]);
    let dropped = || {
        let status = stage.get("/api/v1/status").json();
        status["plane"]["books"]["fates"]["dropped_address"]["packets"].clone()
    };
    assert!(wait_for(SECONDS, || dropped() == 200));
    let page = browser(&stage, &["--dump-dom"]).expect("chromium runs");
    let status = stage.get("/api/v1/status").json();
    let shown = fields(&page, "data-field");
    assert!(shown.len() > 15, "{page}");
    for (path, raw) in &shown {
        // The agent's clockwork goes on between one look and the next.
        if [
            "agent.tick_us",
            "agent.scored",
            "agent.late_ticks",
            "drift.gathered",
        ]
        .contains(&path.as_str())
        {
            continue;
        }
        let value = path.split('.').fold(&status, |value, key| &value[key]);
        assert_eq!(*raw, text(value), "{path}");
    }
    let flows = stage.get("/api/v1/flows").json();
    let verdicts = stage.get("/api/v1/verdicts").json();
    for (path, raw) in fields(&page, "data-list") {
        let (list, name) = path.split_once('.').unwrap();
        let answer = if list == "flows" { &flows } else { &verdicts };
        assert_eq!(raw, text(&answer[name]), "{path}");
    }
    for said in ["10.0.0.9", "scan drop", "enforcing", "Lift"] {
        assert!(page.contains(said), "{said}: {page}");
    }
    assert!(page.contains("disabled"), "nothing can be lifted over TCP");
    if let Ok(picture) = std::env::var(PICTURE) {
        browser(&stage, &[&format!("--screenshot={picture}")]);
        let narrow = picture.replace(".png", "-phone.png");
        browser(
            &stage,
            &[
                &format!("--screenshot={narrow}"),
                "--window-size=400,1600",
                "--force-dark-mode",
            ],
        );
    }
}
