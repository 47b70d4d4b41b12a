"""What is compared with: the same forest behind FastAPI, as one writes it. `uvicorn peer:app`; FOREST names forest.pickle."""

import os
import pickle

import numpy as np
from fastapi import FastAPI
from pydantic import BaseModel

names, forest = pickle.load(open(os.environ["FOREST"], "rb"))
app = FastAPI()


class Asked(BaseModel):
    features: dict[str, float | None]


@app.post("/api/v1/score")
def score(asked: Asked):
    row = np.array([[asked.features.get(name, np.nan) for name in names]], np.float32)
    p = forest.predict_proba(row)[0]
    best = int(p.argmax())
    return {"attack": best == 1, "family": ("benign", "flood")[best], "score": float(p[best])}
