"""What the choice among kernels promises, with kernels whose latency is stated and a clock that only they move.

The kernels are of the operation "dot": right ones do what its twin does.
"""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyruvllm.config import Clock
from pyruvllm.errors import KernelError, OperandError
from pyruvllm.kernels.kernel import ReferenceCall, ReferenceKernel
from pyruvllm.kernels.library import Library
from pyruvllm.kernels.manifest import Manifest, ModuleEntry
from pyruvllm.kernels.operation import Operation
from pyruvllm.kernels.registry import KernelRegistry

LINES = ["in query f32[dim]", "in rows f32[n, dim]", "out scores f32[n]", "u32 n", "u32 dim"]
RELAXED = "dot.relaxed"
SIMD = "dot.simd128"
TILED = "dot_tiled.simd128"
REFERENCE = "reference"
TWO = ("dot", "dot_tiled")


class HandClock(Clock):
    """Moves only when told; ``step`` is what a page's clock moves by, in ms."""

    def __init__(self, step: float = 0.0):
        self.ms = 0.0
        self.step = step

    def spend(self, seconds: float) -> None:
        self.ms += seconds * 1000

    def elapsed_ms(self) -> float:
        return self.ms // self.step * self.step if self.step else self.ms

    def now_ms(self) -> int:
        return 1_700_000_000_000 + int(self.ms)


class Walking(HandClock):
    """A coarse clock that moves while it is read as well, as real ones do; a read takes a microsecond."""

    def elapsed_ms(self) -> float:
        self.ms += 0.001
        return super().elapsed_ms()


class HandMemory:
    """A page's, so to say: every array is in reach."""

    name, engine = "heap", "an engine"

    def __init__(self, features=("simd128", "relaxed-simd")):
        self.features = frozenset(features)

    def empty(self, shape, dtype):
        return np.empty(shape, dtype)

    def address(self, array):
        return 16


class HandLibrary(Library):
    """latency: seconds of a run by kernel, a number or a function of n; wrong, trapping, missing: names of such kernels."""

    def __init__(self, latency, *, clock, wrong=(), trapping=(), missing=(), kernels=("dot",), features=("simd128", "relaxed-simd")):
        operation = Operation("dot", "distance", LINES, kernels=kernels)
        widen = Operation("widen", "convert", ["in x f16[n]", "out y f32[n]", "u32 n"])
        modules = tuple(
            ModuleEntry(f"distance.{variant}.wasm", "distance", needs, 1, variant)
            for variant, needs in (("relaxed", ("simd128", "relaxed-simd")), ("simd128", ("simd128",)))
        )
        super().__init__(Manifest(1, "core", 1, modules, {"dot": operation, "widen": widen}), {}, HandMemory(features))
        self.latency, self.clock = dict(latency), clock
        self.wrong, self.trapping, self.missing = set(wrong), set(trapping), set(missing)
        self.ran: list[str] = []  # names of kernels, in the order they ran at real work (n above 100)

    def kernel(self, operation, name):
        if name in self.missing:
            raise KernelError(f"no module of {name}")
        return HandKernel(self, name, super().kernel(operation, REFERENCE))


class HandKernel(ReferenceKernel):
    def __init__(self, library, name, twin):
        super().__init__(twin.operation, twin._twin)
        self.name, self.library = name, library

    def bind(self, **values):
        return HandCall(self, values)


class HandCall(ReferenceCall):
    def __call__(self):
        library, name, values = self.kernel.library, self.kernel.name, self.values
        real = values["n"] > 100
        if real:
            library.ran.append(name)
        if name in library.trapping and real:
            raise KernelError(f"{name} trapped")
        super().__call__()
        latency = library.latency.get(name, 1.0)
        library.clock.spend(latency(values["n"]) if callable(latency) else latency)
        if name in library.wrong and values["scores"].size:
            values["scores"][0] += 1


def arguments(n=128, dim=3):
    rng = np.random.default_rng(n)
    return {
        "query": rng.standard_normal(dim, np.float32),
        "rows": rng.standard_normal((n, dim), np.float32),
        "scores": np.zeros(n, np.float32),
        "n": n,
        "dim": dim,
    }


def registry(latency, *, clock=None, **options):
    clock = clock or HandClock()
    library = HandLibrary(latency, clock=clock, **options)
    return KernelRegistry(library, clock=clock), library


def work(made, times, **shape):
    """Runs it that often, on right results only."""
    for _ in range(times):
        values = arguments(**shape)
        made.run("dot", **values)
        np.testing.assert_allclose(values["scores"], values["rows"] @ values["query"], rtol=1e-5, atol=1e-5)


class RegistryContract:
    def test_the_fastest_serves_once_each_was_tried(self):
        made, library = registry({RELAXED: 2e-3, SIMD: 1e-3, REFERENCE: 3e-3})
        work(made, 30)
        assert made.select("dot", n=128, dim=3).name == SIMD
        assert set(library.ran[18:]) == {SIMD}  # six of each at most
        assert {library.ran.count(name) for name in (RELAXED, REFERENCE)} <= {2, 3, 4, 5, 6}

    def test_one_that_is_far_behind_is_let_go_after_its_warming_and_two_samples(self):
        made, library = registry({RELAXED: 1e-3, SIMD: 3.5e-3})
        work(made, 30)
        assert library.ran.count(SIMD) == 3

    def test_one_interrupted_run_does_not_let_the_faster_one_go(self):
        runs = iter([1e-3, 137e-3])  # it warms up, then is interrupted
        made, _ = registry({RELAXED: 2e-3, SIMD: lambda n: next(runs, 1e-3)})
        work(made, 30)
        assert made.select("dot", n=128, dim=3).name == SIMD

    def test_a_wrong_one_never_serves_however_fast(self, caplog):
        made, library = registry({RELAXED: 1e-6, SIMD: 1e-3}, wrong=[RELAXED])
        work(made, 30)
        for n in (101, 300, 5000):
            assert made.select("dot", n=n, dim=3).name != RELAXED
        assert RELAXED not in library.ran
        assert [RELAXED in record.message for record in caplog.records].count(True) == 1
        assert made.status()["banned"][0]["kernel"] == RELAXED
        assert "banned: case 0 of size 0: scores[0]" in made.explain("dot", n=128, dim=3)
        made.record_performance("dot", RELAXED, made.shape_class("dot", n=128, dim=3), 1e-9)
        assert made.best("dot", n=128, dim=3).name == SIMD

    def test_one_whose_module_does_not_load_never_serves(self):
        made, library = registry({SIMD: 1e-3}, missing=[RELAXED])
        work(made, 20)
        assert made.best("dot", n=128, dim=3).name == SIMD
        assert "no module of dot.relaxed" in made.explain("dot", n=128, dim=3)

    def test_where_one_breaks_down_at_work_another_does_it(self):
        made, library = registry({RELAXED: 1e-6, SIMD: 1e-3}, trapping=[RELAXED])
        work(made, 20)
        assert library.ran.count(RELAXED) == 1
        assert made.best("dot", n=128, dim=3).name == SIMD

    def test_the_twin_serves_where_nothing_compiled_is_right(self):
        made, library = registry({REFERENCE: 1.0}, wrong=[RELAXED, SIMD])
        work(made, 20)
        assert set(library.ran) == {REFERENCE}

    def test_the_twin_serves_where_it_is_the_fastest(self):
        made, _ = registry({RELAXED: 2e-3, SIMD: 2e-3, REFERENCE: 1e-3})
        work(made, 20)
        assert made.best("dot", n=128, dim=3).name == REFERENCE

    def test_a_twin_that_was_slow_in_its_self_test_is_not_tried(self):
        made, library = registry({RELAXED: 1e-3, SIMD: 2e-3, REFERENCE: 0.1})
        work(made, 50)
        assert REFERENCE not in library.ran
        assert "left out: its self-test took 100 x the time" in made.explain("dot", n=128, dim=3)

    def test_each_shape_class_is_decided_by_itself(self):
        made, _ = registry({RELAXED: lambda n: 1e-6 * n, SIMD: lambda n: 2e-4 + 1e-7 * n})
        for n in (128, 1024):
            work(made, 20, n=n)
        assert [made.best("dot", n=n, dim=3).name for n in (120, 700)] == [RELAXED, SIMD]
        assert made.shape_class("dot", n=700, dim=3) == made.shape_class("dot", n=1024, dim=4) == "n=1024 dim=4"
        assert made.shape_class("dot", n=64, dim=1) == "n=64 dim=1" and made.shape_class("dot", n=65, dim=0) == "n=128 dim=2"

    @given(
        latencies=st.lists(st.floats(1e-5, 1e-2), min_size=3, max_size=3),
        noise=st.floats(0, 0.3),
        wrong=st.sets(st.sampled_from([RELAXED, SIMD, TILED])),
        seed=st.integers(0, 2**32 - 1),
    )
    @settings(max_examples=15)
    def test_whatever_the_latencies_a_right_fast_one_serves_and_trying_is_bounded(self, latencies, noise, wrong, seed):
        rng = np.random.default_rng(seed)
        stated = dict(zip((RELAXED, SIMD, TILED), latencies, strict=True))
        noisy = {name: lambda n, latency=latency: latency * (1 + noise * rng.random()) for name, latency in stated.items()}
        made, library = registry({**noisy, REFERENCE: 10.0}, wrong=wrong, kernels=("dot", "dot_tiled"), missing=["dot_tiled.relaxed"])
        values = arguments()
        for _ in range(5000):
            made.run("dot", **values)
        assert not set(library.ran) & wrong
        right = {name: latency for name, latency in stated.items() if name not in wrong} or {REFERENCE: 10.0}
        near = {name for name, latency in right.items() if latency <= min(right.values()) * (1 + noise) / 0.95}
        assert made.best("dot", n=128, dim=3).name in near
        assert sum(name not in near for name in library.ran) < 0.02 * 5000

    @pytest.mark.parametrize("step", [0.005, 0.1])
    def test_a_coarse_clock_is_enough_for_short_runs(self, step):
        """Some microseconds, where the clock moves by 5 or by 100 of them."""
        made, library = registry({RELAXED: 7e-6, SIMD: 5e-6, REFERENCE: 1.0}, clock=Walking(step))
        work(made, 30)
        assert made.best("dot", n=128, dim=3).name == SIMD
        assert made.status()["operations"]["dot"]["classes"][0]["kernels"][1]["seconds"] == pytest.approx(5e-6, rel=0.2)

    def test_what_cannot_be_repeated_runs_once_a_call(self):
        made, library = registry({RELAXED: 7e-6, SIMD: 5e-6, REFERENCE: 1.0}, clock=Walking(0.1))
        both = np.zeros(128 * 3, np.float32)
        for calls in range(1, 50):
            made.run("dot", query=np.zeros(3, np.float32), rows=both.reshape(128, 3), scores=both[:128], n=128, dim=3)
            assert len(library.ran) == calls

    def test_drift_leads_to_another_choice(self):
        slow = {RELAXED: 1e-3, SIMD: 2e-3}
        made, library = registry(slow)
        work(made, 30)
        assert made.best("dot", n=128, dim=3).name == RELAXED
        library.latency[RELAXED] = 5e-3
        values = arguments()
        for _ in range(3000):
            made.run("dot", **values)
        assert made.best("dot", n=128, dim=3).name == SIMD

    def test_what_was_left_behind_gets_another_chance(self):
        """The engine compiled it better in the meantime."""
        made, library = registry({RELAXED: 1e-3, SIMD: 9e-3})
        work(made, 30)
        library.latency[SIMD] = 0.5e-3
        values = arguments()
        for _ in range(3000):
            made.run("dot", **values)
        assert made.best("dot", n=128, dim=3).name == SIMD

    def test_statistics_come_back_to_the_bit(self):
        made, library = registry({RELAXED: 1e-3 / 3, SIMD: 1e-3 / 7, REFERENCE: 1.0})
        for n, times in ((128, 30), (1024, 5), (4000, 150)):
            work(made, times, n=n)
        kept = json.dumps(made.statistics())
        other, library = registry({RELAXED: 1e-3 / 3, SIMD: 1e-3 / 7, REFERENCE: 1.0})
        other.restore(json.loads(kept))
        assert other.statistics() == made.statistics() and json.dumps(other.statistics()) == kept
        assert other.changes == 0
        work(other, 50, n=128)
        assert set(library.ran) == {SIMD}
        assert other.explain("dot", n=128, dim=3).startswith("dot, n=128 dim=4: dot.simd128 serves since 2023-11-14 22:13 UTC, 80 uses")

    def test_what_was_restored_is_tested_anew(self):
        made, _ = registry({RELAXED: 2e-3, SIMD: 1e-3})
        work(made, 30)
        other, library = registry({RELAXED: 2e-3, SIMD: 1e-3}, wrong=[SIMD])
        other.restore(made.statistics())
        work(other, 30)
        assert set(library.ran) == {RELAXED}

    def test_statistics_of_something_else_are_refused(self):
        made, _ = registry({RELAXED: 2e-3, SIMD: 1e-3})
        work(made, 30)
        before = made.statistics()
        place = before["dot"]["n=128 dim=4"]
        for wrong in (
            {"none": {"n=1": place}},
            {"dot": {"n=128": place}},
            {"dot": {"n-128": place}},
            {"dot": {"n=64 dim=4": place, "n=256 dim=4": {}}},
            {"dot": {"n=64 dim=4": {**place, "serves": "other"}}},
            {"dot": {"n=64 dim=4": {**place, "decided": float("nan")}}},
            {"dot": {"n=64 dim=4": {**place, "uses": -1}}},
            {"dot": {"n=64 dim=4": {**place, "kernels": {RELAXED: place["kernels"][RELAXED]}}}},
            {"dot": []},
            [],
        ):
            with pytest.raises(KernelError):
                made.restore(wrong)
            assert made.statistics() == before

    def test_performance_that_others_measured_decides_too(self):
        made, library = registry({})
        label = made.shape_class("dot", n=500, dim=3)
        for _ in range(40):
            kernel = made.select("dot", n=500, dim=3)
            made.record_performance("dot", kernel.name, label, {RELAXED: 3e-6, SIMD: 2e-6, REFERENCE: 1e-6}[kernel.name])
        assert made.select("dot", n=500, dim=3).name == REFERENCE
        with pytest.raises(KernelError, match="none of the kernels"):
            made.record_performance("dot", "other", label, 1e-6)
        for seconds in (-1.0, float("nan"), "soon"):
            with pytest.raises(KernelError, match="number of seconds"):
                made.record_performance("dot", SIMD, label, seconds)

    def test_who_never_records_is_not_given_others_for_ever(self):
        made, _ = registry({})
        given_ = [made.select("dot", n=500, dim=3).name for _ in range(200)]
        assert set(given_[24:]) == {RELAXED}

    def test_binding_decides_on_copies_of_what_is_written(self):
        made, library = registry({RELAXED: 2e-3, SIMD: 1e-3, REFERENCE: 9e-3})
        values = arguments()
        call = made.bind("dot", **values)
        assert not values["scores"].any()
        assert library.ran and made.best("dot", n=128, dim=3).name == SIMD
        tried = len(library.ran)
        call()
        np.testing.assert_allclose(values["scores"], values["rows"] @ values["query"], rtol=1e-5, atol=1e-5)
        made.bind("dot", **values)
        assert library.ran[tried:] == [SIMD]

    def test_a_twin_that_is_the_fastest_is_not_recorded(self):
        made, library = registry({RELAXED: 3e-3, SIMD: 2e-3, REFERENCE: 1e-3})
        assert made.recorded("dot", **arguments()).name == RELAXED
        assert not library.ran, "nothing is measured where there is no choice"
        assert made.bind("dot", **arguments()).kernel.name == REFERENCE
        for wrong, name in (([RELAXED], SIMD), ([RELAXED, SIMD], REFERENCE)):
            made, _ = registry({REFERENCE: 1.0}, wrong=wrong)
            assert made.recorded("dot", **arguments()).name == name

    def test_of_two_kernels_of_one_variant_the_fastest_is_recorded(self):
        tiled = "dot_tiled.relaxed"
        made, library = registry({RELAXED: 2e-3, tiled: 1e-3}, kernels=TWO)
        assert made.recorded("dot", **arguments()).name == tiled
        assert set(library.ran) == {RELAXED, tiled}
        tried = len(library.ran)
        assert made.recorded("dot", **arguments()).name == tiled and len(library.ran) == tried

    def test_a_chosen_kernel_follows_the_decisions_while_it_works(self):
        made, library = registry({RELAXED: lambda n: 1e-6 * n, SIMD: lambda n: 2e-4 + 1e-7 * n, TILED: 1e-9}, wrong=[TILED], kernels=TWO)
        values = arguments(n=1024)
        call = made.kernel("dot").bind(**values)
        assert not values["scores"].any() and not library.ran
        for turn, (n, best) in enumerate([(1024, SIMD), (128, RELAXED), (1024, SIMD), (200, RELAXED)]):
            call.set(n=n)
            for _ in range(40):
                values["scores"][:] = 0
                call()
                np.testing.assert_allclose(values["scores"][:n], values["rows"][:n] @ values["query"], rtol=1e-5, atol=1e-5)
            assert len(library.ran) == 40 * (turn + 1) and set(library.ran[-10:]) == {best}
            assert call.values["n"] == n and not call.staged
        assert TILED not in library.ran
        with pytest.raises(OperandError, match="rows"):
            call.set(n=2000)
            call()

    def test_a_chosen_kernel_that_breaks_down_is_replaced(self):
        made, library = registry({RELAXED: 1e-6, SIMD: 1e-3})
        values = arguments()
        call = made.kernel("dot").bind(**values)
        for _ in range(20):
            call()
        library.trapping.add(RELAXED)
        for _ in range(20):
            values["scores"][:] = 0
            call()
            np.testing.assert_allclose(values["scores"], values["rows"] @ values["query"], rtol=1e-5, atol=1e-5)
        assert made.best("dot", n=128, dim=3).name == SIMD and library.ran[-19:] == [SIMD] * 19

    def test_arguments_that_do_not_fit_are_told_and_nobody_is_banned_for_them(self):
        made, library = registry({RELAXED: 2e-3, SIMD: 1e-3})
        for _ in range(30):
            with pytest.raises(OperandError, match="rows"):
                made.run("dot", **{**arguments(), "rows": np.zeros((5, 3), np.float32)})
            with pytest.raises(OperandError, match="rows"):
                made.bind("dot", **{**arguments(), "rows": np.zeros((5, 3), np.float32)})
        assert made.status()["banned"] == []
        with pytest.raises(OperandError, match="number dim"):
            made.select("dot", n=3)
        with pytest.raises(OperandError, match="number n"):
            made.select("dot", n="3", dim=3)
        with pytest.raises(KernelError, match="no operation 'sum'; there are dot, widen"):
            made.select("sum", n=3)
        assert made.select("dot", n=np.int64(3), dim=np.uint32(3)).operation.name == "dot"

    def test_explained_for_a_person(self):
        made, _ = registry({RELAXED: 1e-3, SIMD: 1e-3}, features=("simd128",))
        assert made.explain("widen") == "widen: not used yet; there are reference"
        assert "dot.relaxed: this engine lacks relaxed-simd" in made.explain()
        work(made, 30)
        told = made.explain("dot", n=128, dim=3).splitlines()
        assert told[0] == "dot, n=128 dim=4: dot.simd128 serves since 2023-11-14 22:13 UTC, 30 uses"
        assert told[1].split() == ["dot.simd128", "1.00", "ms", "5", "samples", "serves"]

    def test_the_status_is_json(self):
        made, _ = registry({RELAXED: 1e-3, SIMD: 2e-3})
        work(made, 30)
        told = json.loads(json.dumps(made.status()))
        assert told["pack"] == {"name": "core", "version": 1, "modules": 2} and told["memory"] == "heap"
        assert told["operations"]["dot"]["classes"][0]["serves"] == RELAXED

    def test_latencies_belong_to_a_pack_and_an_engine(self):
        made, _ = registry({})
        other, _ = registry({}, features=("simd128",))
        assert made.pack == other.pack and made.pack.startswith("core 1 ")
        assert (made.engine, other.engine) == ("an engine with relaxed-simd simd128", "an engine with simd128")
        assert registry({}, kernels=("dot", "dot_tiled"))[0].pack != made.pack

    async def test_the_real_ones_serve_here(self):
        """Whatever this host can run, from the installation's own pack."""
        made = await KernelRegistry.open()
        assert made.refused == [] and not made.status()["banned"]
        values = arguments(200, 70)
        values = {name: _placed(made, value) for name, value in values.items()}
        for _ in range(40):
            made.run("dot", **values)
        np.testing.assert_allclose(values["scores"], values["rows"] @ values["query"], rtol=1e-4, atol=1e-4)
        place = made.status()["operations"]["dot"]["classes"][0]
        assert place["shape"] == "n=256 dim=128" and place["serves"]
        again = KernelRegistry(made.library)
        again.restore(json.loads(json.dumps(made.statistics())))
        assert again.statistics() == made.statistics()


def _placed(made, value):
    if not isinstance(value, np.ndarray):
        return value
    array = made.empty(value.shape, value.dtype)
    array[...] = value
    return array
