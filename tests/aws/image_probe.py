"""Run inside of the runtime image: prints what it computes, and on what, as JSON."""

import hashlib
import json
import os

import numpy as np

from biglambda import fit_kmeans
from biglambda.kernels import warm

warm()
rows = np.random.default_rng(3).standard_normal((3_000, 5))
fit = fit_kmeans(rows, 4, init=rows[:4], max_iter=5)
assert fit.labels is not None
assert fit.trace is not None
(worker,) = fit.trace.workers
print(
    json.dumps({
        "labels": hashlib.sha256(np.asarray(fit.labels).tobytes()).hexdigest(),
        "target": worker.info.target.name,
        "loaded": worker.info.kernels.loaded,
        "compiled": fit.trace.compiled,
        "compile": os.environ.get("BIGLAMBDA_COMPILE"),
        "shm": os.path.exists("/dev/shm"),
        "uid": os.getuid(),
    })
)  # fmt: skip
