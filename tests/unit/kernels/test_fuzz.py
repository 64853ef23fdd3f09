"""Arguments that nobody should give a kernel: whatever it is told, it leaves alone what is not its own (wasm_kernels/fuzz.py)."""

import pytest

from pyruvllm.kernels.pack import bundled, declared
from wasm_kernels.fuzz import TRUSTED, Fuzzer

ROUNDS = 40


@pytest.fixture(scope="module")
def files():
    return bundled()


@pytest.mark.parametrize("family", sorted({each.family for each in declared().operations.values() if each.name not in TRUSTED}))
def test_kernels_keep_to_their_operands(files, family):
    fuzzer = Fuzzer(files, family)
    assert {kernel.name.rpartition(".")[2] for kernel in fuzzer.kernels} == {"simd128", "relaxed"}
    for kernel in fuzzer.kernels:
        assert fuzzer.faults(kernel, ROUNDS) == []
