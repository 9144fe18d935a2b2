"""What the pages that compute ask for first, answered without a network, so that a worker starts at once."""

from __future__ import annotations

import io
import json

import numpy as np

from spade_core.pruning.sparsity import table


def describe(payload, *, emit, progress, device):
    found = {
        "name": payload["model"]["name"],
        "device": "cpu",
        "labels": ["cat", "dog", "bird"],
        "probabilities": [0.2, 0.7, 0.1],
        "stages": ["conv_stem", "blocks.0", "classifier"],
        "table": table(payload["model"]["name"]),
        "unsupported": {},
        "notes": [],
        "advice": {},
        "picture": {"seen": []},
    }
    crop = io.BytesIO()
    np.save(crop, np.zeros((8, 8, 3), np.uint8))
    return {"model.json": json.dumps(found).encode(), "crop.npy": crop.getvalue()}


def layers(payload, *, emit, progress, device):
    rows = [
        {"name": "blocks.0", "kind": "Sequential", "channels": 8, "rows": 4, "columns": 4},
        {"name": "logits", "kind": "output", "channels": 3, "rows": 1, "columns": 1},
    ]
    return {"layers.json": json.dumps(rows).encode()}
