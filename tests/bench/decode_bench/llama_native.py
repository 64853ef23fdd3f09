"""llama.cpp on one file, one thread: python llama_native.py FILE JSON. Run by an interpreter that has llama-cpp-python."""

import json
import sys
import time

import llama_cpp
import numpy as np

given = json.loads(sys.argv[2])
begun = time.perf_counter()
settings = {"n_ctx": given["context"], "n_batch": 512, "n_threads": 1, "n_threads_batch": 1, "verbose": False}
model = llama_cpp.Llama(sys.argv[1], **settings)
figures = {"loaded, s": time.perf_counter() - begun, "prefill": [], "decode": []}
ids = np.random.default_rng(0).integers(1000, 60000, given["prompt"]).tolist()
for _ in range(given["runs"]):
    model.reset()
    start = time.perf_counter()
    model.eval(ids)
    figures["prefill"].append(given["prompt"] / (time.perf_counter() - start))
    start = time.perf_counter()
    for at in range(given["tokens"]):
        model.eval([1000 + at])
    figures["decode"].append(given["tokens"] / (time.perf_counter() - start))
print(json.dumps(figures))  # noqa: T201
