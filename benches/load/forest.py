"""A forest on the detector's features, for both services: forest.pickle and forest.onnx, and rows to score by it.

Writes into the directory named by its first argument; the second is a file with the features' names, one on each line.
"""

import json
import pickle
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import skl2onnx
from sklearn.ensemble import RandomForestClassifier

LEARNT, ROWS, INFORMATIVE = 30_000, 4_096, 12

out, names = Path(sys.argv[1]), Path(sys.argv[2]).read_text().split()
random = np.random.default_rng(1)
x = random.normal(size=(LEARNT + ROWS, len(names)))
s = sum(x[:, n] * x[:, n + 1] + (x[:, n] + x[:, n + 1]) / 4 for n in range(0, INFORMATIVE, 2))
y = (s + random.uniform(-0.5, 0.5, len(s)) > 0).astype(int)
x = np.sinh(x * 3).astype(np.float32)

forest = RandomForestClassifier(n_estimators=100, max_depth=12, n_jobs=2, random_state=1).fit(x[:LEARNT], y[:LEARNT])
forest.n_jobs = 1
pickle.dump((names, forest), open(out / "forest.pickle", "wb"))
onnx = skl2onnx.to_onnx(forest, x[:1], options={id(forest): {"zipmap": False}})
(out / "forest.onnx").write_bytes(onnx.SerializeToString())

rows = x[LEARNT:]
(out / "rows.f32").write_bytes(rows.tobytes())
batch = pa.RecordBatch.from_arrays([pa.array(column) for column in rows.T.copy()], names=names)
with pa.OSFile(str(out / "rows.arrow"), "wb") as file, pa.ipc.new_stream(file, batch.schema) as writer:
    writer.write_batch(batch)
with open(out / "golden.csv", "w") as file:
    p = forest.predict_proba(rows[:64])
    print(",".join([*names, "score:benign", "score:flood"]), file=file)
    for row, scores in zip(rows[:64], p):
        print(",".join([*(repr(float(value)) for value in row), *(repr(float(score)) for score in scores)]), file=file)
(out / "row.json").write_text(json.dumps({"features": {name: float(value) for name, value in zip(names, rows[0])}}))
