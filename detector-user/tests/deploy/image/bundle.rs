//! A container as a runtime is given it for a pod: what containerd makes of the DaemonSet and the image.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Output, Stdio},
    time::Duration,
};

use serde_json::{Value, json};

use super::{engine::Image, place::Place};
use crate::{
    lab::{space::Space, wait_for},
    pod::Pod,
};

pub const SECONDS: Duration = Duration::from_secs(20);

pub struct Bundle<'a> {
    pod: &'a Pod<'a>,
    host: &'a Space,
    place: &'a Place,
}

impl<'a> Bundle<'a> {
    /// On a node with this network and BPF file system.
    pub fn new(
        place: &'a Place,
        image: &Image,
        pod: &'a Pod,
        host: &'a Space,
        bpffs: &Path,
    ) -> Self {
        let config = place.at("config");
        fs::create_dir(&config).unwrap();
        fs::write(config.join("detector.toml"), pod.configuration).unwrap();
        let spec = specification(image, pod, host, bpffs, &config);
        fs::write(place.at("config.json"), spec.to_string()).unwrap();
        Self { pod, host, place }
    }

    pub fn start(&self, name: &str) -> Running<'_> {
        // Its control group is called so, too, for the whole host.
        let name = format!("detector-{}-{name}", std::process::id());
        let at = |what: &str| self.place.at(&format!("{name}.{what}"));
        let (events, log) = (at("events"), at("log"));
        let child = self
            .place
            .runtime(&["run", "--bundle"])
            .arg(self.place.at(""))
            .arg(&name)
            .stdout(fs::File::create(&events).unwrap())
            .stderr(fs::File::create(&log).unwrap())
            .spawn()
            .unwrap();
        Running {
            bundle: self,
            name,
            child,
            events,
            log,
        }
    }
}

/// A container that runs. It ends with this.
pub struct Running<'a> {
    bundle: &'a Bundle<'a>,
    name: String,
    child: Child,
    /// What it writes to its output.
    pub events: PathBuf,
    log: PathBuf,
}

impl Running<'_> {
    /// Whether a probe succeeds, asked as the kubelet does.
    pub fn answers(&self, probe: &str) -> bool {
        let asked = &self.bundle.pod.container[probe]["httpGet"];
        let port = &self.bundle.pod.container["ports"][0]["containerPort"];
        let [host, path] = ["host", "path"].map(|field| asked[field].as_str().unwrap());
        let line = format!("curl --silent --fail http://{host}:{port}{path}");
        self.bundle.host.try_run(&line).status.success()
    }

    /// As `kubectl exec`.
    pub fn exec(&self, words: &[&str]) -> Output {
        let mut command = self.bundle.place.runtime(&["exec", &self.name]);
        command.args(words).output().unwrap()
    }

    /// What the command says in it.
    pub fn json(&self, words: &[&str]) -> Value {
        let output = self.exec(&[&["/usr/bin/detector"], words, &["-o", "json"]].concat());
        assert!(output.status.success(), "{output:?}\n{}", self.said());
        serde_json::from_slice(&output.stdout).unwrap()
    }

    pub fn said(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    /// As the kubelet does it, in the time that the pod has.
    pub fn stop(mut self) {
        let killed = self
            .bundle
            .place
            .runtime(&["kill", &self.name, "TERM"])
            .status();
        assert!(killed.unwrap().success());
        let seconds = &self.bundle.pod.spec["terminationGracePeriodSeconds"];
        let limit = Duration::from_secs(seconds.as_u64().unwrap());
        let mut ended = None;
        wait_for(limit, || {
            ended = self.child.try_wait().unwrap();
            ended.is_some()
        });
        let well = ended.is_some_and(|status| status.success());
        assert!(well, "{ended:?}: {}", self.said());
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        let mut delete = self
            .bundle
            .place
            .runtime(&["delete", "--force", &self.name]);
        let _ = delete.stderr(Stdio::null()).status();
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn specification(image: &Image, pod: &Pod, host: &Space, bpffs: &Path, config: &Path) -> Value {
    let security = &pod.container["securityContext"];
    let capabilities = security["capabilities"]["add"].as_array().unwrap();
    let capabilities: Vec<String> = capabilities
        .iter()
        .map(|name| format!("CAP_{}", name.as_str().unwrap()))
        .collect();
    let mut arguments: Vec<&str> = image.entrypoint.iter().map(String::as_str).collect();
    arguments.extend(pod.arguments());
    let variables = pod.container["env"].as_array().unwrap().iter();
    let variables: Vec<String> = variables
        .map(|one| {
            format!(
                "{}={}",
                one["name"].as_str().unwrap(),
                one["value"].as_str().unwrap()
            )
        })
        .collect();
    assert_eq!(image.user, "0");
    let mut mounts = vec![
        json!({ "destination": "/proc", "type": "proc", "source": "proc" }),
        json!({ "destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755"] }),
        json!({ "destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["nosuid", "noexec", "nodev", "ro"] }),
    ];
    for mount in pod.container["volumeMounts"].as_array().unwrap() {
        let place = &mount["mountPath"];
        mounts.push(match mount["name"].as_str().unwrap() {
            "bpffs" => json!({ "destination": place, "type": "bind", "source": bpffs, "options": ["rbind", "rslave"] }),
            "config" => json!({ "destination": place, "type": "bind", "source": config, "options": ["rbind", "ro"] }),
            "socket" => json!({ "destination": place, "type": "tmpfs", "source": "tmpfs" }),
            other => panic!("no {other}"),
        });
    }
    json!({
        "ociVersion": "1.0.2",
        "process": {
            "user": { "uid": security["runAsUser"], "gid": 0 },
            "args": arguments,
            "env": variables,
            "cwd": "/",
            "capabilities": { "bounding": capabilities, "effective": capabilities, "permitted": capabilities },
            "noNewPrivileges": security["allowPrivilegeEscalation"] == false,
        },
        "root": { "path": image.root, "readonly": security["readOnlyRootFilesystem"] },
        "mounts": mounts,
        "linux": {
            "namespaces": [
                { "type": "pid" }, { "type": "ipc" }, { "type": "uts" }, { "type": "mount" },
                { "type": "network", "path": host.path() },
            ],
            "maskedPaths": ["/proc/kcore", "/proc/keys", "/sys/firmware"],
            "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
        },
    })
}
