"""Decoders against Hugging Face's transformers, whose logits and tokens stand in oracle.npz (tests/generators/oracle.py makes it).

The random models are made anew from their seeds, and have to be the files that the oracle read. Bound by a fixture ``kernels``: a
KernelRegistry.
"""

import hashlib
from pathlib import Path

import numpy as np
import pytest

from pyruvllm.models import builtin
from tests.contracts.decoder import runner
from tests.generators.decoders import LAYERS, model_file, rounded

GOLDEN = dict(np.load(Path(__file__).with_name("oracle.npz")))
SHIPPED = "built-in"
NAMES = [*LAYERS, SHIPPED]
PLACES = (0, 1, 19, None)  # of the prompt, whose logits are kept; None: its last
NEAR = 4e-3  # of the largest logit, in float32: keys and values are rounded to float16
# Root mean square of the difference, of that of the logits: these products round activations to 8 bits.
KINDS = {"f16": 0.005, "q8_0": 0.06, "q4_0": 0.06, "q4_k": 0.06, "q6_k": 0.04}


def made(name: str, kind: str = "f32") -> bytes:
    """The file that the oracle read; of other kinds than float32 but for numbers at the border between two codes, where numpy's versions
    round either way.
    """
    if name == SHIPPED:
        file = rounded(builtin.data(), kind)
    else:
        sizes = {} if kind == "f32" else {"hidden": 256, "feed_forward": 512}
        file = model_file(name, kind, seed=int(GOLDEN[f"{name}/seed"]), **sizes)
    same = kind != "f32" or hashlib.sha256(file).hexdigest() == str(GOLDEN[f"{name}/sha256"])
    assert same, f"{name} is not the file that the oracle read: make oracle.npz anew"
    return file


class OracleContract:
    @pytest.mark.parametrize("name", NAMES)
    def test_logits_are_those_of_transformers(self, kernels, name):
        model, ids, expected = runner(kernels, made(name), 512), GOLDEN[f"{name}/ids"].tolist(), GOLDEN[f"{name}/logits"]
        done = 0
        for place, row in zip(PLACES, expected, strict=True):
            end = len(ids) if place is None else place + 1
            found = model.feed(ids[done:end])
            assert np.abs(found - row).max() < NEAR * np.abs(row).max(), place
            done = end

    @pytest.mark.parametrize("name", NAMES)
    def test_256_greedy_tokens_are_those_of_transformers(self, kernels, name):
        model, expected, found = runner(kernels, made(name), 512), GOLDEN[f"{name}/greedy"].tolist(), []
        logits = model.feed(GOLDEN[f"{name}/ids"].tolist())
        for _ in expected:
            found.append(int(logits.argmax()))
            logits = model.feed(found[-1:])
        assert found == expected and len(expected) == 256

    @pytest.mark.parametrize(("name", "kind"), [(name, kind) for name in NAMES for kind in KINDS if f"{name}/{kind}" in GOLDEN])
    def test_quantised_models_are_near_transformers_with_the_same_numbers(self, kernels, name, kind):
        expected = GOLDEN[f"{name}/{kind}"]
        found = runner(kernels, made(name, kind), 512).feed(GOLDEN[f"{name}/ids"].tolist())
        assert np.sqrt(np.mean((found - expected) ** 2)) < KINDS[kind] * np.sqrt(np.mean(expected**2))
