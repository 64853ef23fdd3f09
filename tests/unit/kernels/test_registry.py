from pyruvllm.kernels.registry import KernelRegistry
from tests.contracts.registry import RegistryContract, registry, work


class TestRegistry(RegistryContract):
    pass


def test_what_is_decided_is_looked_up(monkeypatch):
    made, _ = registry({"dot.relaxed": 1e-3, "dot.simd128": 2e-3})
    work(made, 30)
    monkeypatch.setattr(KernelRegistry, "place", None)  # nothing is worked out anew
    monkeypatch.setattr(KernelRegistry, "_turn", None)
    assert {made.select("dot", n=128, dim=3).name for _ in range(64)} == {"dot.relaxed"}
