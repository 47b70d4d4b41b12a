"""Measures, and writes the report. `benches/load/run.sh` calls it."""

import argparse
import contextlib
import datetime
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

from stage import Stage, run

HERE = Path(__file__).parent
CLIENTS, SECONDS, ROUNDS = 500, 10, 6
SINGLE, BATCH = "`/score`, one row", "`/score/batch`, 4,096 rows, Arrow"
STREAM = "application/vnd.apache.arrow.stream"
# What wrk runs: the one request, and what it tells at the end.
SCRIPT = """
wrk.method = "POST"
local file = io.open(os.getenv("BODY"), "rb")
wrk.body = file:read("*a")
wrk.headers["Content-Type"] = os.getenv("MEDIA")
wrk.headers["Accept"] = os.getenv("MEDIA")
done = function(summary, latency, requests)
  local e = summary.errors
  io.write(string.format("\\nFIGURES %d %d %f %f %d\\n", summary.requests, summary.duration,
    latency:percentile(50), latency:percentile(99), e.connect + e.read + e.write + e.status + e.timeout))
end
"""


class Phase:
    """What the kernel and the agent count while something goes on."""

    def __init__(self, stage):
        self.stage = stage

    def __enter__(self):
        self.before = (self.stage.programs(), self.stage.metrics(), time.monotonic(), self.stage.agent_cpu_s())
        return self

    def __exit__(self, *_):
        programs, now, at, cpu_s = self.stage.programs(), self.stage.metrics(), time.monotonic(), self.stage.agent_cpu_s()
        before, metrics, begun, used_s = self.before
        self.seconds, self.cpu_s = at - begun, cpu_s - used_s
        (ns, runs), (poll_ns, polls) = ([late - early for late, early in zip(*one)] for one in zip(programs, before))
        self.ns, self.packets = ns / max(1, runs), runs / self.seconds
        self.poll_ns, self.polls = poll_ns / max(1, polls), polls / self.seconds
        self.ticks, self.late = (
            now[name] - metrics[name] for name in ("detector_ticks_total", "detector_late_ticks_total")
        )
        self.load = os.getloadavg()[0]


def wrk(stage, url, body, media, seconds=SECONDS):
    """Requests a second, p50 and p99 in ms, errors."""
    script = stage.folder / "wrk.lua"
    script.write_text(SCRIPT)
    words = ["wrk", "-t", "2", "-c", str(CLIENTS), "-d", f"{seconds}s", "--timeout", "30s", "-s", str(script), url]
    environment = {**os.environ, "BODY": str(body), "MEDIA": media}
    enter = ["nsenter", f"--net=/run/netns/{stage.names[1]}"]
    said = run(*enter, *words, env=environment)
    requests, us, p50, p99, errors = (float(word) for word in said.split("FIGURES ")[1].split())
    return requests / (us / 1e6), p50 / 1e3, p99 / 1e3, int(errors)


def measure(args, stage, told):
    subprocess.run([sys.executable, HERE / "forest.py", stage.folder, names_file(args, stage)], check=True)
    at = lambda name: str(stage.folder / name)
    names = at("names")
    run(args.detector, "model", "import", at("forest.onnx"), "-O", at("model.bin"), "--features", names,
        "--classes", "benign,flood", "--golden", at("golden.csv"))
    bare = float(run(args.bare, at("model.bin"), at("rows.f32")))
    stage.agent(args.detector, at("model.bin"))
    stage.start(["nice", "-n", "-5", args.xtask, "flood"], where=0)
    time.sleep(8)
    quiet = []

    def alone():
        with Phase(stage) as phase:
            time.sleep(SECONDS)
        quiet.append(phase)
        return phase

    def under(what, url, body, media):
        alone()
        with Phase(stage) as phase:
            figures = wrk(stage, url, at(body), media)
        told.append((what, phase, figures))

    api = "http://127.0.0.1:9190/api/v1"
    ways = [
        (SINGLE, f"{api}/score", "row.json", "application/json"),
        (BATCH, f"{api}/score/batch", "rows.arrow", STREAM),
    ]
    with Phase(stage) as whole:
        for n in range(ROUNDS):
            # Each after each: what came before is not to favour one of them.
            for way in ways if n % 2 == 0 else reversed(ways):
                under(*way)
        alone()
    environment = {**os.environ, "FOREST": at("forest.pickle"), "OMP_NUM_THREADS": "1"}
    uvicorn = [sys.executable, "-m", "uvicorn", "peer:app", "--app-dir", str(HERE), "--port", "9191", "--workers", "2"]
    stage.start([*uvicorn, "--log-level", "warning", "--no-access-log"], env=environment)
    time.sleep(10)
    with Phase(stage) as phase:
        peer = wrk(stage, "http://127.0.0.1:9191/api/v1/score", at("row.json"), "application/json")
    told.append(("FastAPI + scikit-learn, one row, 2 workers", phase, peer))
    return bare, peer, quiet, whole


def names_file(args, stage):
    """The features of this version, in their order."""
    model = HERE / "../../models/default/model.bin"
    shown = json.loads(run(args.detector, "model", "show", str(model), "-o", "json"))
    (stage.folder / "names").write_text("\n".join(shown["card"]["features"]))
    return str(stage.folder / "names")


def report(bare, peer, quiet, whole, told):
    of = lambda what: [(phase, figures) for name, phase, figures in told if name == what]
    mean = lambda values: sum(values) / len(values)
    single = mean([figures[0] for _, figures in of(SINGLE)])
    rows = mean([figures[0] for _, figures in of(BATCH)]) * 4096
    of_cpu = rows * SECONDS / mean([phase.cpu_s for phase, _ in of(BATCH)])
    verdict = lambda met: "met" if met else "**not met**"
    ours = of(SINGLE) + of(BATCH)
    errors = sum(figures[3] for _, figures in ours)
    lost = max(0, int(whole.seconds * 10) - whole.ticks)
    # Each beside the flood alone just before and just after it: the machine differs from minute to minute.
    beside = zip(told, quiet, quiet[1:])
    ratios = [(what, phase.ns / mean([before.ns, after.ns]) - 1) for (what, phase, _), before, after in beside]
    off = {what: [ratio for name, ratio in ratios if name == what] for what in (SINGLE, BATCH)}
    tell = lambda values: f"{mean(values):+.1%} (± {2 * statistics.stdev(values) / len(values) ** 0.5:.1%})"
    alone = [one.ns for one in quiet]
    spread = (max(alone) - min(alone)) / mean(alone)
    cpu = next(line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name"))
    lines = [
        f"# The API under load, {datetime.date.today()}",
        "",
        f"`benches/load/run.sh`: {CLIENTS} concurrent clients (wrk, 2 threads) for {SECONDS} s each, while the laboratory's flood (40,000 forged SYNs "
        "a second) passes through the data path, which the agent meets with a signature; clients, services and flood share the same cores. One forest (scikit-learn, 100 trees × "
        f"depth 12, 98 features), imported from ONNX. {cpu}, {os.cpu_count()} cores. Load averages are those of the end of each measurement; before the "
        f"first it was {told[0][1].before_load:.1f}.",
        "",
        "| what | requests/s | p50 ms | p99 ms | errors | packets/s | ns a packet | polls/s | ns a poll | ticks of | late | agent's cores | load |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    kernel = lambda one: (
        f"{one.packets:,.0f} | {one.ns:.0f} | {one.polls:,.0f} | {one.poll_ns:.0f} | {one.ticks:.0f} of {one.seconds * 10:.1f} | {one.late:.0f} | {one.cpu_s / one.seconds:.2f} | {one.load:.1f} |"
    )
    for one in quiet:
        lines.append(f"| flood alone | | | | | {kernel(one)}")
    for what, one, (rate, p50, p99, errs) in told:
        lines.append(f"| {what} | {rate:,.0f} | {p50:,.1f} | {p99:,.1f} | {errs} | {kernel(one)}")
    lines += [
        "",
        "| goal | measured | |",
        "|---|---|---|",
        f"| no error | {errors} | {verdict(errors == 0)} |",
        f"| no lost tick | {lost:.0f} lost, {whole.late:.0f} late of {whole.ticks:,.0f} in {whole.seconds:.1f} s, all rounds | {verdict(lost + whole.late == 0)} |",
        f"| a packet costs no more than 5 % more | {tell(off[SINGLE])} under `/score`, {tell(off[BATCH])} under batches; with the flood alone it varies by {spread:.1%} | {verdict(max(map(mean, off.values())) <= 0.05)} |",
        f"| Arrow batches at half the bare scorer's rows a second | {rows:,.0f} of {bare:,.0f}: {rows / bare:.2f} | {verdict(rows >= bare / 2)} |",
        f"| the same, rows a second of the agent's processor time | {of_cpu:,.0f}: {of_cpu / bare:.2f} | |",
        f"| single scores at 20 × the peer's requests a second | {single / peer[0]:.0f} × | {verdict(single >= 20 * peer[0])} |",
        "",
        "ns a packet is the kernel's own count (`kernel.bpf_stats_enabled`), which costs some 20 to 30 ns a packet itself. A lost tick is one that "
        "should have begun, ten a second, and did not; a row's ends leave one more or less open. What it costs is compared with the flood alone just before and just after; in brackets: two standard errors of the rounds' mean. A poll is that of any receive queue of the host: the program on the tracepoint `napi_poll` ends a burst there, and its time is in no packet's. A late one began more than a tick late. The bare scorer is one thread's processor time, before the flood.",
        "",
    ]
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--detector", required=True)
    parser.add_argument("--xtask", required=True)
    parser.add_argument("--bare", required=True)
    parser.add_argument("--report", required=True)
    args = parser.parse_args()
    told, load = [], os.getloadavg()[0]
    with contextlib.ExitStack() as keep:
        stage = Stage(keep)
        figures = measure(args, stage, told)
    told[0][1].before_load = load
    text = report(*figures, told)
    Path(args.report).write_text(text)
    print(text)


if __name__ == "__main__":
    main()
