"""Decoders against their twin in numpy: every architecture, every kind of weights, in blocks and token by token.

Bound by a fixture ``kernels``: a KernelRegistry.
"""

import asyncio

import numpy as np
import pytest

from pyruvllm.errors import ConfigError, GgufError
from pyruvllm.kernels.registry import KernelRegistry
from pyruvllm.models import recording
from pyruvllm.models.decoder import Runner
from pyruvllm.models.gguf import KINDS, GgufWriter, read_head
from pyruvllm.models.parts import Parts
from pyruvllm.models.shape import Shape
from tests.generators.decoders import LAYERS, Twin, model_file


def runner(kernels, file, context=128, **options):
    head = read_head(file, len(file))
    shape = Shape.of(head.metadata)
    parts = Parts(head, shape, lambda tensor: file[tensor.offset : tensor.offset + tensor.size], kernels)
    return Runner(shape, parts, kernels, context, **options)


def prompt(count, seed=3):
    return np.random.default_rng(seed).integers(0, 160, count).tolist()


# inverse frequencies of Llama 3.2 1B: transformers 5.24, LlamaRotaryEmbedding with rope_type "llama3", rope_theta 500000, factor 32,
# low_freq_factor 1, high_freq_factor 4, original_max_position_embeddings 8192, head_dim 64
LLAMA3 = [
    1.0, 0.66360128, 0.44036663, 0.29222783, 0.19392276, 0.12868738, 0.085397102, 0.056669619, 0.037606031, 0.024955409, 0.016560441,
    0.010989529, 0.0072926651, 0.0048394212, 0.0032114461, 0.001290548, 0.00042955671, 9.7082862e-05, 1.9461639e-05, 1.2914767e-05,
    8.5702559e-06, 5.6872323e-06, 3.7740544e-06, 2.5044671e-06, 1.6619674e-06, 1.1028836e-06, 7.3187493e-07, 4.8567313e-07,
    3.2229329e-07, 2.1387423e-07, 1.419272e-07, 9.4183065e-08,
]  # fmt: skip


def llama3_factors(theta=500_000.0, dim=64, factor=32.0, low=1.0, high=4.0, original=8192):
    """What llama.cpp's converter writes into rope_freqs.weight."""
    waves = 2 * np.pi * theta ** (np.arange(0, dim, 2) / dim)
    smooth = (original / waves - low) / (high - low)
    between = 1 / ((1 - smooth) / factor + smooth)
    return np.where(waves < original / high, 1, np.where(waves > original / low, factor, between)).astype(np.float32)


def changed(change=None, drop=None, reshape=None, architecture="lfm2", sizes=None, add=None, **options):
    """A file with other metadata, without a tensor, with one turned round, with tensors of other sizes, with tensors more."""
    file = model_file(architecture, **options)
    head = read_head(file)
    writer = GgufWriter({**head.metadata, **(change or {})})
    for tensor in head.tensors.values():
        if tensor.name != drop:
            data, shape = file[tensor.offset : tensor.offset + tensor.size], tensor.shape
            shape = shape[::-1] if tensor.name == reshape else (sizes or {}).get(tensor.name, shape)
            writer.add_raw(tensor.name, data, tensor.kind.name, shape)
    for name, values in (add or {}).items():
        writer.add(name, values)
    return writer.bytes()


async def nothing():
    pass


class DecoderContract:
    @pytest.mark.parametrize("architecture", LAYERS)
    def test_logits_are_the_twins(self, kernels, architecture):
        file, ids = model_file(architecture), prompt(70)
        model, expected = runner(kernels, file), Twin(file).logits(ids)
        for start, end in ((0, 45), (45, 46), (46, 47), (47, 70)):
            found = model.feed(ids[start:end])
            # keys and values are rounded to float16
            assert np.abs(found - expected[end - 1]).max() < 4e-3 * np.abs(expected).max(), (start, end)
        assert model.position == 70

    @pytest.mark.parametrize("architecture", LAYERS)
    def test_greedy_tokens_are_the_twins(self, kernels, architecture):
        file, ids = model_file(architecture, seed=5), prompt(9)
        model, made = runner(kernels, file), []
        logits = model.feed(ids)
        for _ in range(60):
            made.append(int(logits.argmax()))
            logits = model.feed(made[-1:])
        assert made == Twin(file).greedy(ids, 60)

    def test_frequencies_are_divided_as_llama_3_has_them(self, kernels):
        change, add = {"llama.rope.freq_base": 500_000.0}, {"rope_freqs.weight": llama3_factors()}
        file = changed(change, architecture="llama", hidden=256, add=add)
        model, ids = runner(kernels, file), prompt(70)
        assert np.allclose(model.parts.frequencies, LLAMA3, rtol=1e-5, atol=0)
        expected = Twin(file).logits(ids)[-1]
        assert np.abs(model.feed(ids) - expected).max() < 4e-3 * np.abs(expected).max()

    @pytest.mark.parametrize("change", [{"rope.scaling.type": "linear"}, {}])
    def test_positions_are_stretched(self, kernels, change):
        change = {f"llama.{name}": value for name, value in {**change, "rope.scaling.factor": 8.0}.items()}
        file, ids = changed(change, architecture="llama"), prompt(70)
        expected, plain = Twin(file).logits(ids)[-1], Twin(model_file("llama")).logits(ids)[-1]
        least = 4e-3 * np.abs(expected).max()
        assert np.abs(runner(kernels, file).feed(ids) - expected).max() < least < np.abs(plain - expected).max()

    @pytest.mark.parametrize(
        ("wrong", "says"),
        [
            ({"change": {"llama.rope.scaling.type": "yarn", "llama.rope.scaling.factor": 4.0}}, "rope.scaling.type is 'yarn'"),
            ({"change": {"llama.rope.scaling.type": "longrope"}}, "rope.scaling.type is 'longrope'"),
            ({"change": {"llama.rope.scaling.type": "linear", "llama.rope.scaling.factor": -1.0}}, "scaling.factor is -1"),
            ({"change": {"llama.rope.scaling.type": np.ones(2, np.float32)}}, "rope.scaling.type is array"),
            ({"change": {"llama.rope.scaling.factor": np.zeros(2, np.float32)}}, "rope.scaling.factor is array"),
            ({"change": {"llama.rope.scaling.attn_factor": 1.2}}, "attn_factor is 1.2"),
            ({"add": {"rope_factors_long.weight": np.ones(8, np.float32)}}, "'rope_factors_long.weight'"),
            ({"add": {"rope_freqs.weight": np.zeros(8, np.float32)}}, "not above 0"),
            ({"add": {"rope_freqs.weight": np.ones(7, np.float32)}}, r"\(7,\); the metadata says \(8,\)"),
        ],
    )
    def test_rotations_that_are_not_done_are_refused(self, kernels, wrong, says):
        with pytest.raises(GgufError, match=says):
            runner(kernels, changed(architecture="llama", **wrong))

    @pytest.mark.parametrize("block", [1, 3, 16, 64])
    def test_the_size_of_blocks_changes_nothing(self, kernels, block):
        file, ids = model_file(), prompt(50)
        whole = runner(kernels, file).feed(ids).copy()
        assert np.abs(runner(kernels, file, block=block).feed(ids) - whole).max() < 1e-4 * np.abs(whole).max()

    @pytest.mark.parametrize(("kind", "most"), {"f16": 0.005, "q8_0": 0.06, "q4_0": 0.06, "q4_k": 0.06, "q6_k": 0.04}.items())
    def test_quantised_weights_are_near_the_twin_of_the_same_numbers(self, kernels, kind, most):
        """Activations are rounded to 8 bits by these products, which is what the bound is for."""
        file, ids = model_file(kind=kind, hidden=256, feed_forward=512), prompt(40)
        expected = Twin(file).logits(ids)[-1]
        found = runner(kernels, file).feed(ids)
        assert np.sqrt(np.mean((found - expected) ** 2)) < most * np.sqrt(np.mean(expected**2))

    @pytest.mark.parametrize("kind", ["bf16", "q4_1", "q5_0", "q5_1", "q5_k"])
    def test_kinds_without_a_kernel_are_converted_at_load(self, kernels, kind):
        plain = model_file(hidden=256, feed_forward=512)
        head, random = read_head(plain), np.random.default_rng(4)
        writer = GgufWriter(head.metadata)
        for tensor in head.tensors.values():
            raw = np.frombuffer(plain, np.uint8)[tensor.offset : tensor.offset + tensor.size]
            if len(tensor.shape) == 2 and "conv.weight" not in tensor.name:
                blocks = random.integers(0, 256, (KINDS[kind].size(tensor.shape) // KINDS[kind].bytes, KINDS[kind].bytes), dtype=np.uint8)
                if kind == "bf16":
                    blocks = (raw.view(np.uint32) >> 16).astype("<u2").view(np.uint8)
                else:
                    blocks[:, :4] = np.array([0.004, 0.002], "<f2").view(np.uint8)
                    if kind == "q5_0":
                        blocks[:, 2:4] = random.integers(0, 256, (len(blocks), 2))
                writer.add_raw(tensor.name, blocks.tobytes(), kind, tensor.shape)
            else:
                writer.add_raw(tensor.name, raw, tensor.kind.name, tensor.shape)
        file, ids = writer.bytes(), prompt(20)
        expected, found = Twin(file).logits(ids)[-1], runner(kernels, file).feed(ids)
        assert np.sqrt(np.mean((found - expected) ** 2)) < 0.05 * np.sqrt(np.mean(expected**2))

    def test_it_begins_anew_after_a_reset(self, kernels):
        model, ids = runner(kernels, model_file()), prompt(20)
        first = model.feed(ids).copy()
        model.reset()
        assert np.array_equal(model.feed(ids), first)

    @pytest.mark.parametrize("architecture", LAYERS)
    async def test_many_tokens_are_read_with_the_logits_of_each_and_taken_back(self, kernels, architecture):
        file, ids = model_file(architecture), prompt(30)
        expected = Twin(file).logits(ids)
        model, least = runner(kernels, file), 4e-3 * np.abs(expected).max()
        model.feed(ids[:20])
        for count, kept in ((9, 4), (2, 1), (5, 2), (3, 3)):
            at = model.position
            found = await model.read(ids[at : at + count], nothing, every=True)
            assert found.shape == (count, 160) and np.abs(found - expected[at : at + count]).max() < least, (at, count)
            model.rewind(at + kept)
            assert model.history == ids[: at + kept]
        assert model.position == 30
        with pytest.raises(ConfigError, match="up to 9"):
            await model.read(ids[:10], nothing, every=True)

    @pytest.mark.parametrize("architecture", LAYERS)
    def test_it_goes_back_to_anywhere(self, kernels, architecture):
        file, ids = model_file(architecture), prompt(60)
        model, expected = runner(kernels, file), Twin(file).logits(ids)
        model.feed(ids[:40])
        for id in ids[40:50]:
            model.feed([id])
        for position in (50, 47, 45, 20, 0):  # as it stands, one of the last, one of long ago, the beginning
            model.rewind(position)
            assert model.history == ids[:position]
            found = model.feed(ids[position : position + 5])
            assert np.abs(found - expected[position + 4]).max() < 4e-3 * np.abs(expected).max(), position
            model.rewind(min(position + 4, position))

    async def test_what_is_stopped_within_a_block_leaves_it_out(self, kernels, monkeypatch):
        monkeypatch.setattr(recording, "SLICE", 1)  # each product of its own
        model, ids, turns = runner(kernels, model_file(), block=16), prompt(60), 0

        async def pace():
            nonlocal turns
            turns += 1
            if turns == 40:
                raise asyncio.CancelledError

        model.feed(ids[:16])
        with pytest.raises(asyncio.CancelledError):
            await model.read(ids[16:], pace)
        at = model.position
        assert at in (16, 32) and model.history == ids[:at]
        assert np.abs(model.feed(ids[at:]) - Twin(model_file()).logits(ids)[-1]).max() < 1e-2

    def test_a_long_prompt_can_be_stopped_between_blocks(self, kernels):
        model = runner(kernels, model_file(), block=16)

        class Stop(Exception):
            pass

        def stop():
            if model.position == 32:
                raise Stop

        with pytest.raises(Stop):
            model.feed(prompt(60), stop)
        assert model.position == 32
        ids = prompt(60)
        assert np.allclose(model.feed(ids[32:]), runner(kernels, model_file()).feed(ids), atol=1e-3)

    def test_what_does_not_fit_is_refused_and_nothing_taken_in(self, kernels):
        model = runner(kernels, model_file(), context=16)
        for ids in ([], [160], [-1], prompt(17)):
            with pytest.raises(ConfigError):
                model.feed(ids)
        assert model.position == 0
        with pytest.raises(ConfigError, match="1 to 512"):
            runner(kernels, model_file(), context=513)

    def test_without_compiled_kernels_the_twins_of_numpy_serve(self):
        file, ids = model_file(), prompt(12)
        model = runner(KernelRegistry(None), file, context=32)
        assert np.abs(model.feed(ids) - Twin(file).logits(ids)[-1]).max() < 1e-2

    @pytest.mark.parametrize(
        ("wrong", "says"),
        [
            ({"change": {"general.architecture": "mamba"}}, "'mamba'"),
            ({"change": {"general.type": "adapter"}}, "cannot answer by itself"),
            ({"change": {"lfm2.block_count": 0}}, "block_count is 0"),
            ({"change": {"lfm2.block_count": 5}}, "each of 5 layers"),
            ({"change": {"lfm2.attention.head_count_kv": np.array([0, 3, 0, 2], np.int32)}}, "is 3 for 4 heads"),
            ({"change": {"lfm2.embedding_length": 65}}, "the metadata says"),
            ({"change": {"lfm2.attention.layer_norm_rms_epsilon": -1.0}}, "epsilon is -1"),
            ({"change": {"lfm2.shortconv.l_cache": "3"}}, "l_cache is '3'"),
            ({"drop": "blk.1.attn_q_norm.weight"}, "'blk.1.attn_q_norm.weight' is missing"),
            ({"drop": "blk.3.ffn_down.weight"}, "'blk.3.ffn_down.weight' is missing"),
            ({"reshape": "blk.0.ffn_up.weight"}, r"\(64, 96\); the metadata says \(96, 64\)"),
            ({"sizes": {"token_embd.weight": (80, 128)}}, r"'token_embd.weight' is \(80, 128\); the metadata says \(80, 64\)"),
            ({"sizes": {"token_embd.weight": (320, 32)}}, r"'token_embd.weight' is \(320, 32\)"),
            ({"sizes": {"token_embd.weight": (160 * 64,)}}, r"'token_embd.weight' is \(10240,\)"),
            ({"sizes": {"token_embd.weight": (2, 80, 64)}}, r"'token_embd.weight' is \(2, 80, 64\)"),
            ({"architecture": "llama", "sizes": {"output.weight": (80, 128)}}, r"'output.weight' is \(80, 128\); .* \(160, 64\)"),
            ({"architecture": "llama", "change": {"llama.block_count": 8000}}, "block_count is 8000; the file has tensors of 2 blocks"),
            ({"architecture": "llama", "change": {"llama.block_count": 300_000}}, "block_count is 300000; a number above 0, up to 8192"),
        ],
    )
    def test_a_file_that_is_no_whole_model_is_refused(self, kernels, wrong, says):
        with pytest.raises(GgufError, match=says):
            runner(kernels, changed(**wrong))
