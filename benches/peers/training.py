#!/usr/bin/env python3
"""Trains on the shared flows and on a synthetic table, beside scikit-learn and LightGBM, on the same parts.

    python3 -m venv /tmp/venv && /tmp/venv/bin/pip install scikit-learn lightgbm pandas pyarrow zstandard
    /tmp/venv/bin/python benches/peers/training.py --detector target/release/detector --flows ../shared/data/flows

prints Markdown tables. Rows are parted once, by this script; every learner gets the same rows to learn from and the same to be
judged by, and the figures of all are scikit-learn's, of the columns that `detector train` names.
"""

import argparse
import json
import pathlib
import subprocess
import tempfile
import time

import numpy as np
import pandas as pd
from sklearn.ensemble import IsolationForest, RandomForestClassifier
from sklearn.metrics import f1_score, roc_auc_score

SEEDS = (1, 2, 3)


def zeek(path):
    """A conn.log, also with labels behind blanks, as a table of texts."""
    import zstandard

    text = zstandard.ZstdDecompressor().stream_reader(open(path, "rb")).read().decode("utf-8", "replace")
    fields, rows = None, []
    for line in text.splitlines():
        if line.startswith("#fields"):
            fields = line.split("\t")[1:]
            fields = fields[:-1] + fields[-1].split()
        elif line and not line.startswith("#"):
            values = line.split("\t")
            if len(values) < len(fields):
                values = values[:-1] + values[-1].split()
            rows.append(values)
    return pd.DataFrame(rows, columns=fields)


def parted(table, label, when):
    """Of every class the earliest 70 % to learn from, the rest to be judged by; by chance where nothing says when."""
    table = table.sample(frac=1, random_state=7) if when is None else table.sort_values(when, kind="stable")
    table = table.reset_index(drop=True)
    early = np.zeros(len(table), bool)
    for name in table[label].unique():
        places = np.where(table[label] == name)[0]
        early[places[: int(np.ceil(0.7 * len(places)))]] = True
    return table[early].reset_index(drop=True), table[~early].reset_index(drop=True)


def numbers(learn, judge, names):
    """The columns that the detector learnt from, as scikit-learn needs them: words as numbers, nothing infinite or missing."""
    found = []
    for name in names:
        a, b = learn[name], judge[name]
        both = pd.concat([a, b])
        number = pd.to_numeric(both.replace({"-": None, "(empty)": None}), errors="coerce")
        if number.notna().sum() < both.replace({"-": None, "(empty)": None}).notna().sum() / 2:
            words = {word: place for place, word in enumerate(sorted(a.dropna().astype(str).unique()))}
            number = both.astype(str).map(words)
        number = number.replace([np.inf, -np.inf], np.nan).fillna(-1).astype("float32")
        found.append(number.to_numpy())
    all_rows = np.stack(found, axis=1)
    return all_rows[: len(learn)], all_rows[len(learn) :]


class Runs:
    def __init__(self, detector, folder):
        self.detector, self.folder = detector, pathlib.Path(folder)

    def train(self, learn, label, *more):
        model = self.folder / "model.bin"
        command = [self.detector, "train", learn, "--label", label, "--out", model, "-o", "json", *more]
        done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
        if done.returncode != 0:
            raise SystemExit(f"{command}: {done.stderr}")
        return model, json.loads(done.stdout)

    def judge(self, model, judge, label):
        command = [self.detector, "eval", model, judge, "--label", label, "-o", "json"]
        done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
        if done.returncode != 0:
            raise SystemExit(f"{command}: {done.stderr}")
        return json.loads(done.stdout)


def mean(values):
    return f"{np.mean(values):.4f}"


def columns_of(told, table):
    """The table's columns behind the features' names."""
    left_out = set(told["left_out"])
    kept = [name for name in table.columns if name.strip() not in left_out]
    return [name for name in kept if name.strip() != told["training"]["label"]]


def compare(runs, title, learn, judge, label, benign, learners):
    folder = runs.folder
    learn.to_parquet(folder / "learn.parquet", index=False)
    judge.to_parquet(folder / "judge.parquet", index=False)
    is_attack = (judge[label].astype(str) != str(benign)).to_numpy()
    for learner in () if ISOLATION_ONLY else learners:
        f1, auc = [], []
        for seed in SEEDS:
            model, told = runs.train(folder / "learn.parquet", label, "--learner", *learner.split(), "--seed", seed)
            found = runs.judge(model, folder / "judge.parquet", label)
            f1.append(found["f1_macro"])
            auc.append(found["roc_auc"])
        print(f"| {title} | {len(learn)} / {len(judge)} | detector, {learner} | {mean(f1)} | {mean(auc)} |", flush=True)
    _, told = runs.train(folder / "learn.parquet", label, "--learner", "isolation", "--benign", benign)
    a, b = numbers(learn, judge, columns_of(told, learn))
    names, y = np.unique(learn[label].astype(str), return_inverse=True)
    truth = judge[label].astype(str).to_numpy()
    forests = (("scikit-learn forest, 100", {}), ("scikit-learn forest, 100, balanced", {"class_weight": "balanced"}))
    for title_of, options in () if ISOLATION_ONLY else forests:
        f1, auc = [], []
        for seed in SEEDS:
            forest = RandomForestClassifier(n_estimators=100, random_state=seed, n_jobs=-1, **options).fit(a, y)
            p = forest.predict_proba(b)
            f1.append(f1_score(truth, names[p.argmax(1)], average="macro"))
            auc.append(roc_auc_score(is_attack, 1 - p[:, list(names).index(str(benign))]))
        print(f"| {title} | {len(learn)} / {len(judge)} | {title_of} | {mean(f1)} | {mean(auc)} |", flush=True)
    # Isolation: learnt from the benign rows alone.
    auc = []
    for seed in SEEDS:
        model, told = runs.train(folder / "learn.parquet", label, "--learner", "isolation", "--benign", benign, "--seed", seed)
        auc.append(runs.judge(model, folder / "judge.parquet", label)["roc_auc"])
    theirs = []
    for seed in SEEDS:
        forest = IsolationForest(n_estimators=300, random_state=seed).fit(a[y == list(names).index(str(benign))])
        theirs.append(roc_auc_score(is_attack, -forest.score_samples(b)))
    gap = np.mean(auc) - np.mean(theirs)
    ISOLATION.append(f"| {title} | {mean(auc)} | {mean(theirs)} | {gap:+.4f} |")


ISOLATION, ISOLATION_ONLY = [], False


def flows(runs, where):
    print("| data | rows to learn from / to judge by | learner | macro-F1 | ROC-AUC, benign against the rest |\n|---|---|---|---:|---:|")
    both = ("forest", "forest --class-weights balanced", "boost")
    table = pd.read_parquet(where / "cicids2017_corrected_early60.parquet")
    compare(runs, "CIC-IDS2017 corrected, by time", *parted(table, "Label", "Timestamp"), "Label", "BENIGN", both)
    table = pd.read_parquet(where / "k8s_misuse_early60.parquet")
    compare(runs, "Kubernetes misuse, by time", *parted(table, "Label", "Timestamp"), "Label", "0", (*both, "linfa"))
    table = pd.read_parquet(where / "cicddos2019_500_per_class.parquet")
    compare(runs, "CIC-DDoS2019, by time", *parted(table, "Label", "Timestamp"), "Label", "BENIGN", (*both, "linfa"))
    table = pd.read_parquet(where / "cicids2017_original_12000.parquet")
    compare(runs, "CIC-IDS2017 original, by chance", *parted(table, "Label", None), "Label", "BENIGN", both)
    table = zeek(where / "iot23_alejandro945_conn.log.labeled.zst")
    table["ts"] = table["ts"].astype(float)
    compare(runs, "IoT-23 (Zeek), by time", *parted(table, "label", "ts"), "label", "Benign", both)
    logs = [zeek(where / f"strato_{n}-zeek-mixed_data_conn.log.labeled.zst") for n in ("008", "010")]
    logs = [log[log["label"].isin(["Benign", "Malicious"])].reset_index(drop=True) for log in logs]
    compare(runs, "Stratosphere 008, judged on 010 (Zeek)", *logs, "label", "Benign", both)
    left, right = (pd.read_parquet(where / f"westermo_{side}.parquet") for side in ("left", "right"))
    compare(runs, "Westermo left, judged on right", left, right, "NST_M_Label", "Normal", both)
    print("\n| data | detector, isolation | scikit-learn's | difference |\n|---|---:|---:|---:|")
    print("\n".join(ISOLATION))


def synthetic(rows, features, seed=11):
    """Heavy-tailed features, of which a dozen say something, together more than alone."""
    random = np.random.default_rng(seed)
    x = np.exp(random.normal(0, 2, (rows, features))).astype("float32")
    z = np.log(x)
    margin = 0.6 * z[:, 0] * z[:, 1] + 0.5 * z[:, 2] - 0.4 * np.abs(z[:, 3]) * z[:, 4] + 0.3 * z[:, 5] * z[:, 6] + 0.5 * np.sin(z[:, 7] * 2)
    margin += 0.25 * z[:, 8:12].sum(axis=1)
    y = random.random(rows) < 1 / (1 + np.exp(-margin))
    table = pd.DataFrame(x, columns=[f"f{n}" for n in range(features)])
    table["Label"] = np.where(y, "attack", "benign")
    return table


def times(runs, rows, scikit):
    import lightgbm

    folder = runs.folder
    learn, judge = synthetic(rows, 78), synthetic(30_000, 78, seed=12)
    learn.to_parquet(folder / "learn.parquet", index=False)
    judge.to_parquet(folder / "judge.parquet", index=False)
    a, b = (table.drop(columns="Label").to_numpy() for table in (learn, judge))
    y, truth = ((table["Label"] == "attack").to_numpy() for table in (learn, judge))
    print(f"\n{rows:,} rows × 78, wall seconds on {len(__import__('os').sched_getaffinity(0))} CPUs, AUC on 30,000 others\n")
    print("| learner | fit, s | AUC |\n|---|---:|---:|")
    for learner in ("forest --trees 100 --depth-max 12", "boost --rounds 100 --leaves-max 63 --calibration none"):
        model, told = runs.train(folder / "learn.parquet", "Label", "--learner", *learner.split())
        found = runs.judge(model, folder / "judge.parquet", "Label")
        print(f"| detector, {learner} | {told['fit_seconds']['all']:.2f} | {found['roc_auc']:.4f} |", flush=True)
    plain = {"n_estimators": 100, "num_leaves": 63, "verbose": -1}
    forest = {**plain, "boosting_type": "rf", "num_leaves": 4095, "max_depth": 12, "bagging_fraction": 0.632, "bagging_freq": 1, "feature_fraction_bynode": 0.113}
    for title, options in (("LightGBM forest, 100 × depth 12", forest), ("LightGBM, 100 × 63 leaves", plain)):
        begin = time.time()
        model = lightgbm.LGBMClassifier(**options).fit(a, y)
        took = time.time() - begin
        print(f"| {title} | {took:.2f} | {roc_auc_score(truth, model.predict_proba(b)[:, 1]):.4f} |", flush=True)
    if scikit:
        begin = time.time()
        model = RandomForestClassifier(n_estimators=100, max_depth=12, n_jobs=-1, random_state=1).fit(a, y)
        took = time.time() - begin
        print(f"| scikit-learn forest, 100 × depth 12 | {took:.2f} | {roc_auc_score(truth, model.predict_proba(b)[:, 1]):.4f} |", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--detector", default="target/release/detector")
    parser.add_argument("--flows", type=pathlib.Path, default=pathlib.Path("../shared/data/flows"))
    parser.add_argument("--rows", type=int, nargs="*", default=[100_000], help="sizes of the synthetic table")
    parser.add_argument("--only", choices=("flows", "isolation", "times"))
    told = parser.parse_args()
    global ISOLATION_ONLY
    ISOLATION_ONLY = told.only == "isolation"
    with tempfile.TemporaryDirectory() as folder:
        runs = Runs(told.detector, folder)
        if told.only != "times":
            flows(runs, told.flows)
        if told.only in (None, "times"):
            for rows in told.rows:
                times(runs, rows, rows <= 200_000)


main()
