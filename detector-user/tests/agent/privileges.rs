//! What it may do is the least that keeps it going, and it says what that is.

use std::{
    collections::BTreeMap,
    fs,
    net::{TcpListener, TcpStream},
    path::Path,
    process::Command,
};

use detector_user::{
    agent::config::Config,
    privilege::{self, Confinement, PrivilegeSettings, reach::Reach},
};

use crate::lab::{
    Lab,
    agent::Stage,
    child::{self, Child},
    skip,
    space::veth,
};

/// CAP_NET_ADMIN, CAP_PERFMON, CAP_BPF.
const THREE: u64 = (1 << 12) | (1 << 38) | (1 << 39);

/// Fields of `/proc/PID/status`, by name.
fn fields(status: &Path) -> BTreeMap<String, String> {
    let text = fs::read_to_string(status).unwrap_or_default();
    text.lines()
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
        .collect()
}

/// Those of every thread of a process.
fn threads(process: u32) -> Vec<BTreeMap<String, String>> {
    let tasks = fs::read_dir(format!("/proc/{process}/task")).unwrap();
    tasks
        .map(|task| fields(&task.unwrap().path().join("status")))
        .filter(|fields| fields.contains_key("CapEff"))
        .collect()
}

fn mask(thread: &BTreeMap<String, String>, field: &str) -> u64 {
    u64::from_str_radix(&thread[field], 16).unwrap()
}

/// With a socket of its own, which `detector status` asks.
fn with_socket(settings: &str) -> impl FnOnce(&Path) -> Vec<String> {
    move |folder| {
        let (config, socket) = (folder.join("detector.toml"), folder.join("detector.sock"));
        let text = format!("{settings}\n[api]\nlisten = \"off\"\nsocket = {socket:?}\n");
        fs::write(&config, text).unwrap();
        vec!["--config".to_owned(), config.display().to_string()]
    }
}

fn status(stage: &Stage, format: &str) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_detector"))
        .arg("--pin-dir")
        .arg(stage.pins())
        .args(["status", "-o", format, "--config"])
        .arg(stage.folder.join("detector.toml"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn every_thread_holds_the_least_and_it_is_told() {
    let Some(lab) = Lab::new(&[]) else {
        return;
    };
    let Some(stage) = Stage::furnished(lab, with_socket(""), &[]) else {
        return;
    };
    // Each place that says so.
    let said =
        "holds CAP_BPF, CAP_NET_ADMIN, CAP_PERFMON; user 0 (root); no new privileges; Landlock";
    stage.hear(said);
    let table = status(&stage, "table");
    assert!(
        table.contains(&format!("agent: monitor, {said}")),
        "{table}"
    );
    let json: serde_json::Value = serde_json::from_str(&status(&stage, "json")).unwrap();
    let held = &json["agent"]["privileges"];
    assert_eq!(held["no_new_privileges"], true, "{held}");
    assert_eq!(held["capabilities"][0], "CAP_BPF", "{held}");
    // And so it is.
    let threads = threads(stage.agent.id());
    let names: Vec<&str> = threads.iter().map(|one| one["Name"].as_str()).collect();
    for name in ["detector", "serve", "plane", "events"] {
        assert!(names.contains(&name), "{names:?}");
    }
    for thread in &threads {
        let held = if thread["Name"] == "serve" { 0 } else { THREE };
        for (field, value) in [
            ("CapEff", held),
            ("CapPrm", held),
            ("CapInh", 0),
            ("CapAmb", 0),
            ("CapBnd", 0),
        ] {
            assert_eq!(mask(thread, field), value, "{field} of {}", thread["Name"]);
        }
        assert_eq!(thread["NoNewPrivs"], "1", "{}", thread["Name"]);
    }
}

#[test]
fn it_keeps_what_it_has_where_it_is_told_to() {
    let Some(lab) = Lab::new(&[]) else {
        return;
    };
    let settings = "[privileges]\ndrop = false\nconfine = false";
    let Some(stage) = Stage::furnished(lab, with_socket(settings), &[]) else {
        return;
    };
    stage.hear("Landlock off");
    let own = fields(Path::new("/proc/self/status"));
    let main = &fields(Path::new(&format!("/proc/{}/status", stage.agent.id())));
    for field in ["CapEff", "CapPrm", "CapBnd", "NoNewPrivs"] {
        assert_eq!(main[field], own[field], "{field}");
    }
}

#[test]
fn a_data_plane_that_is_replaced_or_removed_is_read_and_attached_anew() {
    let Some(mut stage) = Stage::new(&["--enforce", "--no-model"]) else {
        return;
    };
    let detector = |words: &str| {
        let (program, pins) = (env!("CARGO_BIN_EXE_detector"), stage.pins());
        let line = format!("{program} --pin-dir {} {words}", pins.display());
        stage.server.run(&line);
    };
    detector("attach -i vb --flow-slots 8192 --replace");
    stage.hear("the data plane was replaced");
    // The directory that was there at the start goes, and another one comes.
    detector("detach");
    stage.hear("the data plane was removed");
    detector("attach -i vb --flow-slots 4096 --verdict-slots 64");
    stage.hear_times("the data plane was replaced", 2);
    stage.attacker.run("ip link delete dev va");
    stage.hear("vb is gone");
    veth((&stage.attacker, "va"), (&stage.server, "vb"));
    stage.hear_times("attached to vb", 2);
    stage.scan([10, 0, 0, 9]);
    stage.alert("scan", "drop");
    assert!(stage.is_running());
}

#[test]
fn a_reload_that_reaches_elsewhere_says_that_a_restart_is_needed() {
    let Some(lab) = Lab::new(&[]) else {
        return;
    };
    let Some(mut stage) = Stage::furnished(lab, with_socket(""), &[]) else {
        return;
    };
    if !stage.log().contains("Landlock ABI") {
        return skip("needs a kernel with Landlock");
    }
    let elsewhere = tempfile::tempdir().unwrap();
    let model = elsewhere.path().join("model.bin");
    fs::write(&model, "some model").unwrap();
    let registry = elsewhere.path().join("registry");
    let refused = "restart it to have it";
    for (n, (settings, named)) in [
        (format!("model = {model:?}"), model.display().to_string()),
        (
            format!("[models]\nregistry = {registry:?}"),
            registry.display().to_string(),
        ),
        (
            "[models]\nregistry = \"s3://bucket/prefix\"".to_owned(),
            "s3://bucket".to_owned(),
        ),
    ]
    .into_iter()
    .enumerate()
    {
        with_socket(&settings)(&stage.folder);
        stage.signal("-HUP");
        stage.hear_times(refused, n + 1);
        assert!(stage.log().contains(&named), "{}", stage.log());
    }
    stage.hear("the former configuration stays in force");
    // What is within reach is taken as ever; a link out of it is refused by the kernel itself.
    with_socket("tick_ms = 20")(&stage.folder);
    stage.signal("-HUP");
    stage.hear("configuration reloaded");
    std::os::unix::fs::symlink(&model, stage.folder.join("model.bin")).unwrap();
    with_socket(&format!("model = {:?}", stage.folder.join("model.bin")))(&stage.folder);
    stage.signal("-HUP");
    stage.hear_times(refused, 4);
    assert!(stage.is_running());
}

#[test]
fn nothing_is_read_written_or_reached_but_what_is_configured() {
    let Some(lab) = Lab::new(&[]) else {
        return;
    };
    let home = tempfile::tempdir().unwrap();
    for folder in ["own", "elsewhere"] {
        fs::create_dir(home.path().join(folder)).unwrap();
        fs::write(home.path().join(folder).join("file"), "text").unwrap();
    }
    let (home, pins) = (home.path().to_str().unwrap(), lab.pins());
    let child = Child::start(
        "privileges::confined",
        &[home, pins.root().to_str().unwrap()],
    );
    assert!(child.end(), "see above what it could do");
}

#[test]
#[ignore = "a part of the test above, in a process of its own"]
fn confined() {
    let Some(arguments) = child::arguments() else {
        return;
    };
    let (home, pins) = (Path::new(&arguments[0]), Path::new(&arguments[1]));
    let (own, elsewhere) = (home.join("own"), home.join("elsewhere"));
    let mut config = Config {
        events: Some(own.join("eve.json").display().to_string()),
        ..Config::default()
    };
    config.api.socket = own.join("socket").display().to_string();
    let reach = Reach::of(&config, Some(&own.join("detector.toml")), pins);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let held = privilege::hold_least(PrivilegeSettings::default(), &reach).unwrap();
    if held.landlock != Confinement::Confined {
        return skip(&format!("needs a kernel with Landlock: {held}"));
    }
    let refused = |what: &str, done: std::io::Result<()>| {
        let kind = done.expect_err(what).kind();
        assert_eq!(kind, std::io::ErrorKind::PermissionDenied, "{what}");
    };
    // In its folders it reads, makes and appends, and removes what it must.
    assert_eq!(fs::read_to_string(own.join("file")).unwrap(), "text");
    let mut append = fs::OpenOptions::new();
    append.create(true).append(true);
    append.open(own.join("eve.json")).unwrap();
    fs::write(own.join("socket"), "").unwrap();
    fs::remove_file(own.join("socket")).unwrap();
    fs::create_dir(pins).unwrap();
    fs::remove_dir(pins).unwrap();
    // Elsewhere it does nothing, though it is root.
    refused("reading", fs::read(elsewhere.join("file")).map(drop));
    refused("making", fs::write(elsewhere.join("new"), "text"));
    refused("removing", fs::remove_file(elsewhere.join("file")));
    refused(
        "moving",
        fs::rename(own.join("file"), elsewhere.join("file")),
    );
    refused("a folder", fs::create_dir(own.join("folder")));
    refused("settings", fs::write("/proc/sys/kernel/hostname", "other"));
    refused("starting", Command::new("/bin/true").status().map(drop));
    if held.landlock_abi >= 4 {
        refused("listening", TcpListener::bind("127.0.0.1:0").map(drop));
        refused("connecting", TcpStream::connect(address).map(drop));
    }
}
