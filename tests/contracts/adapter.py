"""Adapters: what they do is what merged weights do, each sequence has its own, and they survive files, the database and eviction.

Bound by a fixture ``kernels``: a KernelRegistry.
"""

import numpy as np
import pytest

from pyruvllm.cache import EXACT
from pyruvllm.errors import ConfigError, GgufError, MismatchError, NotFoundError
from pyruvllm.models.adapter import AdapterStore, Lora, read_adapter, write_adapter
from pyruvllm.models.batch import Batch
from pyruvllm.models.gguf import GgufWriter
from pyruvllm.storage import migrate, open_driver
from tests.contracts.decoder_cache import FILES, apart, prompt, shared
from tests.generators.decoders import Twin


def lora_for(parts, seed=1, rank=3, alpha=6.0):
    random = np.random.default_rng(seed)

    def side(*shape):
        return (0.25 * random.standard_normal(shape)).astype(np.float16).astype(np.float32)

    names = [name for name in parts.matrices if name.startswith("blk.")][seed % 2 :: 2]
    return Lora(
        alpha, {n: (side(rank, parts.matrices[n].cols), side(parts.matrices[n].rows, rank)) for n in names}, "lfm2", {"general.name": "odd"}
    )


def merged(architecture, lora, ids):
    twin = Twin(FILES[architecture])
    for name, (a, b) in lora.parts.items():
        twin.w[f"{name}.weight"] = twin.w[f"{name}.weight"] + lora.scale(name) * b.astype(np.float64) @ a.astype(np.float64)
    return twin.logits(ids)


class AdapterContract:
    @pytest.mark.parametrize("architecture", ["lfm2", "llama", "qwen2"])
    def test_it_does_what_merged_weights_do(self, kernels, architecture):
        runner, ids = shared(kernels, architecture, EXACT), prompt(60)
        plain = runner.feed(ids).copy()
        first, second = lora_for(runner.parts, 1), lora_for(runner.parts, 2, rank=5, alpha=0.0)
        runner.adapters.load("first", first)
        runner.adapters.load("second", second)
        for name, lora in (("first", first), ("second", second), ("first", first)):
            sequence = runner.begin(ids, adapter=name)
            assert len(sequence) < 60 and (name == "first" or not len(sequence)), "pages of another adapter are not its own"
            runner.use(sequence)
            for start, end in ((len(sequence), 59), (59, 60)):
                found = runner.feed(ids[start:end]) if start < end else None
            assert apart(found, merged(architecture, lora, ids)[-1]) < 5e-3 < apart(found, plain)
        runner.use(runner.begin())
        assert np.array_equal(runner.feed(ids), plain)

    def test_prepared_for_it_turning_to_it_records_nothing(self, kernels):
        runner = shared(kernels, setting=EXACT)
        for name in ("a", "b"):
            runner.adapters.load(name, lora_for(runner.parts, len(name)))
            runner.prepare(name)
        before, pages = dict(runner._recordings), runner.cache.store.pages
        for name in ("a", "b", None, "a"):
            runner.use(runner.begin(adapter=name))
            runner.feed(prompt(40))
            runner.feed([1])
            runner.cache.release(runner.sequence)
        assert runner._recordings == before and runner.cache.store.pages == pages

    def test_sequences_of_one_batch_share_an_adapter(self, kernels):
        runner = shared(kernels, setting=EXACT)
        runner.adapters.load("a", lora_for(runner.parts))
        batch = Batch(runner, 2, runner.sequence.layout, False, runner.adapters.of(runner.adapters.identity("a")))
        with pytest.raises(ConfigError, match="kept in another way"):
            batch.step([runner.sequence], [1])
        sequences = [runner.begin(adapter="a") for _ in range(4)]
        for number, sequence in enumerate(sequences):
            runner.use(sequence)
            runner.feed(prompt(20, number % 2))
        together = batch.step(sequences[:2], [5, 6]).copy()
        for row, sequence in enumerate(sequences[2:]):
            runner.use(sequence)
            assert apart(together[row], runner.feed([5 + row])) < 1e-4

    def test_an_evicted_one_is_loaded_again_at_its_next_use(self, kernels):
        runner, ids = shared(kernels, setting=EXACT), prompt(30)
        lora, read = lora_for(runner.parts), []
        runner.adapters.load("a", lambda: read.append(1) or lora)
        sequence = runner.begin(adapter="a")
        runner.use(sequence)
        expected = runner.feed(ids).copy()
        holding = runner.adapters.of(sequence.identity).holding
        assert holding.kind == "adapter" and holding.taken > 0
        before = runner.cache.pool.used
        holding.release()
        assert runner.cache.pool.used < before and len(read) == 1
        runner.truncate(0)
        assert np.array_equal(runner.feed(ids), expected) and len(read) == 2
        runner.adapters.unload("a")
        with pytest.raises(NotFoundError):
            runner.feed([1])
        with pytest.raises(NotFoundError, match="'a'; there are none"):
            runner.begin(adapter="a")

    def test_what_does_not_fit_the_model_is_refused(self, kernels):
        runner = shared(kernels)
        for name, rows, cols in (("blk.9.attn_q", 64, 64), ("token_embd", 160, 64), ("blk.1.attn_q", 64, 32)):
            with pytest.raises(ConfigError, match=name):
                runner.adapters.load("x", Lora(1.0, {name: (np.ones((2, cols), np.float32), np.ones((rows, 2), np.float32))}))
        assert runner.adapters.names == [] and not [each for each in runner.cache.pool.holdings if each.kind == "adapter"]
        with pytest.raises(ConfigError, match="B"):
            Lora(1.0, {"blk.1.attn_q": (np.ones((2, 64)), np.ones((64, 3)))})

    def test_files_keep_every_number(self, kernels):
        lora = lora_for(shared(kernels).parts)
        for kind in ("f32", "f16"):
            again = read_adapter(write_adapter(lora, kind))
            assert (again.alpha, again.architecture, again.details) == (lora.alpha, "lfm2", {"general.name": "odd"})
            assert again.digest == lora.digest and again.parts.keys() == lora.parts.keys()
            assert all(
                np.array_equal(mine, theirs)
                for name in lora.parts
                for mine, theirs in zip(lora.parts[name], again.parts[name], strict=True)
            )

    @pytest.mark.parametrize(
        ("change", "tensors", "says"),
        [
            ({"general.type": "model"}, None, "'model'"),
            ({"adapter.type": "control"}, None, "'control'"),
            ({"adapter.lora.alpha": "big"}, None, "'big'"),
            ({}, {"blk.0.x.weight.lora_a": (2, 4)}, "only one"),
            ({}, {"blk.0.x.weight.lora_a": (2, 4), "blk.0.x.weight.lora_b": (4, 3)}, "A .2, 4. and B .4, 3."),
            ({}, {"blk.0.x.weight": (2, 4)}, "no matrix"),
            ({}, {}, "no matrices"),
        ],
    )
    def test_a_file_that_is_no_adapter_is_refused(self, change, tensors, says):
        writer = GgufWriter({"general.type": "adapter", "adapter.type": "lora", "adapter.lora.alpha": 2.0, **change})
        whole = {"blk.0.x.weight.lora_a": (2, 4), "blk.0.x.weight.lora_b": (4, 2)} if tensors is None else tensors
        for name, shape in whole.items():
            writer.add(name, np.ones(shape, np.float32))
        with pytest.raises(GgufError, match=says):
            read_adapter(writer.bytes())

    async def test_checkpoints_are_versions_in_the_database(self, kernels):
        driver = await open_driver(":memory:")
        migrate(driver)
        store, parts = AdapterStore(driver), shared(kernels).parts
        first, second = lora_for(parts, 1), lora_for(parts, 2)
        assert [store.save("a", first, b"base"), store.save("a", second, b"base"), store.save("b", first, b"base")] == [1, 2, 1]
        assert store.load("a", b"base").digest == second.digest and store.load("a", b"base", 1).digest == first.digest
        assert [(name, version) for name, version, _ in store.list()] == [("b", 1), ("a", 2), ("a", 1)]
        with pytest.raises(MismatchError, match="another model"):
            store.load("a", b"other")
        assert store.delete("a") == 2
        with pytest.raises(NotFoundError):
            store.load("a", b"base")
        await driver.close()
