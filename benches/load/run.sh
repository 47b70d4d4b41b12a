#!/bin/sh
# Scores over HTTP under 500 clients while a flood passes through the data path, beside FastAPI with scikit-learn: needs root, wrk, bpftool,
# python3 and PyPI. Writes benches/results/api-load-DATE.md, or what its one argument names.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
cd "$root"
venv=$root/target/load-venv
[ -x "$venv/bin/python" ] || python3 -m venv "$venv"
"$venv/bin/pip" install --quiet --requirement "$here/requirements.txt"
cargo build --quiet --release --package detector-user --bin detector --package xtask --bin xtask
bench=$(cargo bench --quiet --package detector-benches --bench rows --no-run --message-format json |
    "$venv/bin/python" -c 'import json, sys
for line in sys.stdin:
    one = json.loads(line)
    if one.get("target", {}).get("name") == "rows" and one.get("executable"):
        print(one["executable"])')
exec "$venv/bin/python" "$here/run.py" --detector target/release/detector --xtask target/release/xtask --bare "$bench" \
    --report "${1:-benches/results/api-load-$(date +%F).md}"
