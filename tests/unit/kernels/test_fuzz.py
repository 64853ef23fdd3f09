"""Arguments that nobody should give a kernel: whatever it is told, it leaves alone what is not its own (wasm_kernels/fuzz.py)."""

import pytest

from pyruvllm.kernels.pack import bundled
from wasm_kernels.declare import families
from wasm_kernels.fuzz import Fuzzer

ROUNDS = 100


@pytest.fixture(scope="module")
def files():
    return bundled()


@pytest.mark.parametrize("family", families())
def test_kernels_keep_to_their_operands(files, family):
    fuzzer = Fuzzer(files, family)
    assert fuzzer.kernels or family == "replay"
    for kernel in fuzzer.kernels:
        assert fuzzer.faults(kernel, ROUNDS) == []
