"""Decoders over the two-tier cache: near the twin in numpy in every setting, and the same whatever was cut, shared, changed or batched.

Bound by a fixture ``kernels``: a KernelRegistry.
"""

import numpy as np
import pytest

from pyruvllm.cache import EXACT, KvCache, Pool, Setting
from pyruvllm.errors import CacheError, ConfigError
from pyruvllm.models.batch import Batch
from pyruvllm.models.decoder import Runner, form_of
from pyruvllm.models.gguf import read_head
from pyruvllm.models.parts import Parts
from pyruvllm.models.shape import Shape
from tests.generators.decoders import Twin, model_file

NEAR = {"f16": 0.004, "q8": 0.03, "q8q4": 0.25, "q4": 0.35}  # root mean square of what logits differ by, in parts of theirs
FILES: dict[str, bytes] = {}


def shared(kernels, architecture="lfm2", setting=None, budget=8 << 20, context=256, identity=b"small", **shape):
    """A runner over a cache that others may use too."""
    key = "-".join([architecture, *map(str, shape.values())])
    file = FILES[key] = FILES.get(key) or model_file(architecture, seed=7, **shape)
    head = read_head(file, len(file))
    known = Shape.of(head.metadata)
    parts = Parts(head, known, lambda t: file[t.offset : t.offset + t.size], kernels)
    cache = KvCache(form_of(known), Pool(budget, kernels.empty), kernels, setting or Setting(tail=32), identity)
    return Runner(known, parts, kernels, context, cache=cache)


def prompt(count, seed=3):
    return np.random.default_rng(seed).integers(0, 160, count).tolist()


def apart(found, expected):
    return float(np.sqrt(np.mean((found - expected) ** 2) / np.mean(expected**2)))


class DecoderCacheContract:
    @pytest.mark.parametrize(
        ("architecture", "setting"),
        [
            ("lfm2", EXACT),
            ("lfm2", Setting(0)),
            ("lfm2", Setting(32, "q8q4", rotate=True)),
            ("llama", Setting(32)),
            ("llama", Setting(32, "q8q4", layers=(0, 1))),
            ("qwen3", Setting(32, "q4", rotate=True)),
        ],
    )
    def test_logits_are_near_the_twins_in_every_setting(self, kernels, architecture, setting):
        runner, ids = shared(kernels, architecture, setting), prompt(200)
        expected = Twin(FILES[architecture]).logits(ids)
        for start, end in ((0, 150), (150, 151), (151, 200)):
            assert apart(runner.feed(ids[start:end]), expected[end - 1]) < NEAR[setting.old], (start, end)
        assert (runner.sequence.old_tokens > 0) == (setting != EXACT)

    @pytest.mark.parametrize("length", [0, 16, 33, 90])
    def test_what_was_cut_off_goes_on_as_if_it_had_never_been(self, kernels, length):
        ids, other = prompt(130), prompt(30, 4)
        cut, whole = shared(kernels, setting=EXACT), shared(kernels, setting=EXACT)
        cut.feed(ids)
        cut.truncate(length)
        assert cut.history == ids[:length]
        found = cut.feed(other).copy()
        assert apart(found, whole.feed(ids[:length] + other)) < 1e-3

    def test_known_beginnings_are_not_read_again(self, kernels):
        runner, ids = shared(kernels, setting=EXACT), prompt(120)
        expected = runner.feed(ids).copy()
        sequence = runner.begin(ids)
        assert len(sequence) == 112
        runner.use(sequence)
        assert apart(runner.feed(ids[112:]), expected) < 1e-3
        assert runner.history == ids

    def test_sequences_that_take_turns_do_not_disturb_each_other(self, kernels):
        runner = shared(kernels)
        first, second = runner.sequence, runner.begin(setting=Setting(0, "q4", rotate=True))
        texts = {first: prompt(150, 1), second: prompt(150, 2)}
        for start in range(0, 150, 25):
            for sequence, ids in texts.items():
                runner.use(sequence)
                logits = runner.feed(ids[start : start + 25]).copy()
                alone = shared(kernels, setting=sequence.setting)
                for at in range(0, start + 25, 25):
                    expected = alone.feed(ids[at : at + 25])
                assert np.array_equal(logits, expected)

    def test_a_setting_that_changes_midway_is_not_computed_anew(self, kernels):
        runner, ids = shared(kernels), prompt(240)
        expected = Twin(FILES["lfm2"]).logits(ids)
        runner.feed(ids[:150])
        for end, setting in ((180, Setting(32, "q8q4", rotate=True)), (210, EXACT), (240, Setting(16, "q8"))):
            runner.cache.change(runner.sequence, setting)
            assert apart(runner.feed(ids[end - 30 : end]), expected[end - 1]) < NEAR["q8q4"]

    @pytest.mark.parametrize("architecture", ["lfm2", "qwen3"])
    def test_a_batch_gives_what_each_gives_alone(self, kernels, architecture):
        runner = shared(kernels, architecture)
        batch = Batch(runner, 4, runner.sequence.layout, False)
        sequences, alone, last = [], [], []
        for number in range(4):
            ids = prompt(20 + 35 * number, number)
            for into in (sequences, alone):
                into.append(runner.begin())
                runner.use(into[-1])
                last.append(int(runner.feed(ids).argmax()))
        tokens = last[::2]
        for step in range(40):
            active = range(4) if step < 30 else (0, 2, 3)
            logits = batch.step([sequences[i] for i in active], [tokens[i] for i in active])
            for row, i in enumerate(active):
                runner.use(alone[i])
                assert apart(logits[row], runner.feed([tokens[i]])) < 1e-4, (step, i)
                tokens[i] = int(logits[row].argmax())
        assert sequences[3].tokens == alone[3].tokens and len(sequences[1]) == 85
        for wrong in ([], [0, 1], [0] * 5):
            with pytest.raises(ConfigError):
                batch.step([sequences[0]] * len(wrong), wrong)

    def test_a_sequence_that_was_given_back_is_refused(self, kernels):
        runner = shared(kernels)
        runner.feed(prompt(20))
        runner.cache.release(runner.sequence)
        with pytest.raises(CacheError, match="given back"):
            runner.feed([1])
