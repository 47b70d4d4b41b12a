"""Two network namespaces with a wire between them, the agent on the one end, the laboratory's flood from the other; and the kernel's own figures."""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

# Where the laboratory's flood comes from and goes to.
INTERFACE, SERVER, SERVER_MAC = "eth0", "198.18.0.1", "02:00:00:00:00:01"
STATS = Path("/proc/sys/kernel/bpf_stats_enabled")


def run(*words, **more):
    return subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True, **more).stdout


class Stage:
    """Everything goes when the context ends."""

    def __init__(self, keep):
        self.keep = keep
        self.names = [f"detector-load-{os.getpid()}-{end}" for end in "ab"]
        self.folder = Path(keep.enter_context(tempfile.TemporaryDirectory(prefix="detector-load-")))
        for name in self.names:
            run("ip", "netns", "add", name)
            keep.callback(run, "ip", "netns", "delete", name)
        a, b = self.names
        run("ip", "-n", a, "link", "add", INTERFACE, "type", "veth", "peer", "name", "vb", "address", SERVER_MAC, "netns", b)
        for name, link in ((a, INTERFACE), (b, "vb"), (b, "lo")):
            run("ip", "-n", name, "link", "set", link, "up")
        run("ip", "-n", b, "address", "add", f"{SERVER}/24", "dev", "vb")
        pins = self.folder / "bpf"
        pins.mkdir()
        run("mount", "-t", "bpf", "bpf", str(pins))
        keep.callback(run, "umount", str(pins))
        self.pins = pins / "detector"
        before = STATS.read_text()
        STATS.write_text("1")
        keep.callback(STATS.write_text, before)

    def start(self, words, log="log", where=1, **more):
        """Starts a program in a namespace; it is killed at the end."""
        log = open(self.folder / log, "a")
        words = ["nsenter", f"--net=/run/netns/{self.names[where]}", *words]
        process = subprocess.Popen(words, stdout=log, stderr=log, stdin=subprocess.DEVNULL, **more)
        self.keep.callback(process.wait)
        self.keep.callback(process.kill)
        return process

    def within(self, *words):
        return run("nsenter", f"--net=/run/netns/{self.names[1]}", *words)

    def agent(self, detector, model):
        """The agent, enforcing, as it is configured by default."""
        config = self.folder / "detector.toml"
        config.write_text(f'[api]\nsocket = "{self.folder}/detector.sock"\n')
        words = [detector, "--pin-dir", str(self.pins), "run", "-i", "vb", "--enforce", "--config", str(config)]
        self.process = self.start([*words, "--model", str(model), "--events", str(self.folder / "eve.json")], "agent")
        for _ in range(200):
            time.sleep(0.1)
            with contextlib.suppress(subprocess.CalledProcessError):
                self.metrics()
                if "ready" in (self.folder / "agent").read_text():
                    return
        sys.exit("the agent did not start: " + (self.folder / "agent").read_text())

    def metrics(self):
        text = self.within("curl", "-sf", "-m", "20", "http://127.0.0.1:9190/metrics")
        lines = [line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#")]
        return {name: float(value) for name, value in lines}

    def agent_cpu_s(self):
        """What the agent has used of the processors."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def programs(self):
        """What the kernel counts, ns and runs: of the program at the interface, and of the one that ends bursts."""
        link = json.loads(self.within("ip", "-j", "-d", "link", "show", "vb"))[0]
        burst = json.loads(run("bpftool", "-j", "link", "show", "pinned", str(self.pins / "maps" / "bursts")))
        ids = (link["xdp"]["prog"]["id"], burst["prog_id"])
        shown = [json.loads(run("bpftool", "-j", "prog", "show", "id", str(one))) for one in ids]
        return [(one.get("run_time_ns", 0), one.get("run_cnt", 0)) for one in shown]
