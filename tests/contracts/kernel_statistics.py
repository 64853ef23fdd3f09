"""What is promised of latencies that outlive the process: kept as policies, taken up where they were measured, and nowhere else."""

import json

import pytest

from pyruvllm.errors import KernelError, StorageError
from pyruvllm.kernels import cases
from pyruvllm.memory.kernels import OTHERS, TYPE, VERSIONS, KernelStatistics
from pyruvllm.memory.policy import PolicyEntry, PolicyStore
from tests.contracts.registry import RELAXED, SIMD, registry, work


def made(latency=None, **options):
    return registry(latency or {RELAXED: 1e-3 / 3, SIMD: 1e-3 / 7}, **options)[0]


class KernelStatisticsContract:
    """Bound by a fixture ``open_memory``, as the typed stores' contracts."""

    async def test_they_survive_a_restart_to_the_bit(self, open_memory):
        memory = await open_memory()
        first = made()
        kept = KernelStatistics(PolicyStore(memory), first)
        assert not kept.load() and not kept.save()
        work(first, 40)
        memory.before_flush.append(kept.save)
        measured = json.dumps(first.statistics())
        await memory.flush()
        await memory.close()
        memory = await open_memory()
        second = made()
        assert KernelStatistics(PolicyStore(memory), second).load()
        assert json.dumps(second.statistics()) == measured
        assert second.best("dot", n=128, dim=3).name == SIMD

    async def test_what_was_found_right_here_is_tested_shortly_at_the_next_start(self, open_memory, monkeypatch):
        memory, first = await open_memory(), made()
        work(first, 40)
        assert set(first.tested()["dot"]) == {RELAXED, SIMD}
        assert KernelStatistics(PolicyStore(memory), first).save()
        tried, second = [], made()
        assert KernelStatistics(PolicyStore(memory), second).load()
        whole = cases.fault
        monkeypatch.setattr(cases, "fault", lambda kernel, twin, number, size: tried.append(size) or whole(kernel, twin, number, size))
        assert second.best("dot", n=128, dim=3).name == SIMD and set(tried) == {0} and len(tried) <= 2
        third = made(wrong={RELAXED})
        third.retest(first.tested())
        work(third, 40)
        assert third.best("dot", n=128, dim=3).name == SIMD and [each["kernel"] for each in third.status()["banned"]] == [RELAXED]
        with pytest.raises(KernelError):
            third.retest({"dot": {SIMD: "fast"}})

    async def test_closing_keeps_them_too(self, open_memory):
        memory = await open_memory()
        first = made()
        memory.before_flush.append(KernelStatistics(PolicyStore(memory), first).save)
        work(first, 40)
        await memory.close()
        await memory.close()
        assert PolicyStore(await open_memory()).latest(TYPE).parameters["statistics"] == first.statistics()

    async def test_they_are_written_after_a_decision_and_not_for_every_use(self, open_memory):
        memory = await open_memory()
        policies, first = PolicyStore(memory), made()
        kept = KernelStatistics(policies, first)
        saved = 0
        for _ in range(100):
            work(first, 1)
            saved += kept.save()
        assert saved == 1
        work(first, 20, n=2000)
        assert kept.save()
        assert [entry.parameters["version"] for entry in policies.list(TYPE)] == [2, 1, 0], "and the bundled one"

    async def test_a_new_version_takes_the_place_of_the_one_before_the_last(self, open_memory):
        memory = await open_memory()
        policies = PolicyStore(memory)
        for other in range(OTHERS + 3):
            policies.put(PolicyEntry(TYPE, {"pack": "core 1", "engine": f"engine {other}", "statistics": {}}, "instant_loop"))
        first = made()
        kept = KernelStatistics(policies, first)
        for n in (128, 500, 1000, 2000):
            work(first, 30, n=n)
            assert kept.save()
        entries = policies.list(TYPE)
        assert [entry.parameters["version"] for entry in entries[:VERSIONS]] == [4, 3]
        assert len(entries) == VERSIONS + OTHERS + 1 and entries[-1].source == "bundled"
        second = made()
        again = KernelStatistics(policies, second)
        assert again.load() and second.statistics() == first.statistics()
        work(second, 30, n=4000)
        assert again.save() and policies.latest(TYPE).parameters["version"] == 5

    async def test_what_was_measured_elsewhere_does_not_count(self, open_memory):
        memory = await open_memory()
        policies, first = PolicyStore(memory), made()
        work(first, 40)
        assert KernelStatistics(policies, first).save()
        for other in (made(features=("simd128",)), made(kernels=("dot", "dot_tiled"))):
            assert not KernelStatistics(policies, other).load()
            assert other.statistics() == {}

    async def test_a_damaged_version_is_passed_over(self, open_memory, caplog):
        memory = await open_memory()
        policies, first = PolicyStore(memory), made()
        work(first, 40)
        assert KernelStatistics(policies, first).save()
        own = {"pack": first.pack, "engine": first.engine}
        policies.put(PolicyEntry(TYPE, {**own, "version": 9, "statistics": {"dot": {"n=1 dim=1": {}}}}, "instant_loop"))
        policies.put(PolicyEntry(TYPE, {**own, "version": 10, "statistics": {"dot": 3}}, "instant_loop"))
        second = made()
        assert KernelStatistics(policies, second).load()
        assert second.statistics() == first.statistics()
        assert len([record for record in caplog.records if "are not used" in record.message]) == 2

    async def test_a_reader_writes_nothing(self, open_memory):
        writer = await open_memory()
        await writer.flush()
        first = made()
        kept = KernelStatistics(PolicyStore(await open_memory(readonly=True)), first)
        work(first, 40)
        assert not kept.save()

    async def test_a_flush_does_not_fail_for_them(self, open_memory, monkeypatch):
        memory = await open_memory()
        first = made()
        policies = PolicyStore(memory)
        memory.before_flush.append(KernelStatistics(policies, first).save)
        work(first, 40)

        def refuse(entry):
            raise StorageError("the disk is odd")

        with monkeypatch.context() as broken:
            broken.setattr(policies, "put", refuse)
            await memory.flush()
        assert [entry.source for entry in policies.list(TYPE)] == ["bundled"]
        await memory.flush()
        assert len(policies.list(TYPE)) == 2
