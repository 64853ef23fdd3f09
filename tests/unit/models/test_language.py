"""A model from a file, as a user opens it."""

import numpy as np
import pytest

from pyruvllm.cache import Caching, Pool
from pyruvllm.errors import GgufError, ModelError
from pyruvllm.models.gguf import GgufWriter, read_head
from pyruvllm.models.language import LanguageModel, open_model
from pyruvllm.models.tokenizer.bytebpe import ALPHABET
from pyruvllm.storage import migrate, open_driver
from tests.contracts.dialogue import *  # noqa: F403
from tests.contracts.dialogue import GREEDY
from tests.generators.decoders import model_file


def whole(tokens=257, size=64, end="<|im_end|>", **metadata):
    """A model with random weights and the bytes as its vocabulary."""
    file = model_file(vocabulary=257, seed=2, hidden=size, feed_forward=size * 3 // 2)
    head = read_head(file)
    own = {"tokenizer.ggml.model": "gpt2", "tokenizer.ggml.pre": "lfm2", "tokenizer.ggml.merges": [], "tokenizer.ggml.eos_token_id": 256}
    own |= {"tokenizer.ggml.tokens": [*ALPHABET, end, "more"][:tokens], "general.name": "tiny"}
    kinds = np.array([1] * 256 + [3] * (tokens - 256), np.int32)
    writer = GgufWriter({**head.metadata, **own, "tokenizer.ggml.token_type": kinds, **metadata})
    for tensor in head.tensors.values():
        writer.add_raw(tensor.name, file[tensor.offset : tensor.offset + tensor.size], tensor.kind.name, tensor.shape)
    return writer.bytes()


async def test_a_file_is_opened_and_generates(kernels, tmp_path):
    path, told = tmp_path / "tiny.gguf", []
    path.write_bytes(whole())
    model = await open_model(path, kernels, context=64, progress=lambda done, total: told.append((done, total)))
    assert (model.name, model.runner.context) == ("tiny", 64) and model.nbytes > 0
    assert told[-1][0] == told[-1][1] and told == sorted(told)
    stream = model.generate("The engine ", GREEDY, max_tokens=12)
    text = await stream.text()
    assert model.tokenizer.decode(stream.ids) == text and stream.usage.prompt_tokens == 11


async def test_a_head_longer_than_the_first_look_is_read_whole(kernels):
    model = LanguageModel(whole(**{"general.description": "x" * (3 << 20)}), kernels)
    assert len(model.metadata["general.description"]) == 3 << 20


async def test_a_file_of_version_2_says_what_that_of_version_3_does(kernels):
    third = whole()
    second = third[:4] + (2).to_bytes(4, "little") + third[8:]
    texts = [await LanguageModel(file, kernels).generate("The engine ", GREEDY, max_tokens=12).text() for file in (second, third)]
    assert third[4] == 3 and texts[0] == texts[1] != ""


async def test_what_is_no_model_is_refused(kernels, tmp_path):
    with pytest.raises(ModelError, match="no file"):
        await open_model(tmp_path / "missing.gguf", kernels)
    (tmp_path / "empty.gguf").touch()
    with pytest.raises(ModelError, match="empty"):
        await open_model(tmp_path / "empty.gguf", kernels)
    (tmp_path / "text.gguf").write_text("this is no model at all, but text")
    with pytest.raises(GgufError, match="magic"):
        await open_model(tmp_path / "text.gguf", kernels)
    with pytest.raises(GgufError, match="truncated"):
        LanguageModel(whole()[:-5000], kernels)
    with pytest.raises(ModelError, match="258 tokens and the model embeddings of 257"):
        LanguageModel(whole(tokens=258), kernels)


async def test_a_smaller_model_with_the_same_tokens_guesses_by_itself(kernels):
    model = LanguageModel(whole(), kernels)
    plain = model.generate("The engine ", GREEDY, max_tokens=30, speculate=False)
    await plain.text()
    assert plain.usage.guesses == () and model.draft is None
    small, other = LanguageModel(whole(size=16), kernels), LanguageModel(whole(size=16, tokens=257, end="<|other|>"), kernels)
    assert model.draft is small
    stream = model.generate("The engine ", GREEDY, max_tokens=30)
    await stream.text()
    assert stream.ids == plain.ids and [told.name for told in stream.usage.guesses] == ["prompt look-up", "tiny"]
    assert sum(told.drafted for told in stream.usage.guesses) > 0
    small.close()
    assert model.draft is None and other.draft is None
    stream = model.generate("The engine ", GREEDY, max_tokens=5)
    await stream.text()
    assert [told.name for told in stream.usage.guesses] == ["prompt look-up"]


def test_what_was_kept_of_one_model_is_not_taken_for_anothers(kernels):
    """Files that differ in nothing but a number of their metadata, a norm, or the rotation."""
    file, turned = whole(), np.full(8, 2, np.float32)
    head = read_head(file)

    def other(metadata=(), norm=None, **more):
        writer = GgufWriter({**head.metadata, **dict(metadata)})
        for tensor in head.tensors.values():
            data = np.frombuffer(file, np.uint8)[tensor.offset : tensor.offset + tensor.size]
            data = (2 * data.view(np.float32)).view(np.uint8) if tensor.name == norm else data
            writer.add_raw(tensor.name, data, tensor.kind.name, tensor.shape)
        for name, values in more.items():
            writer.add(f"{name}.weight", values)
        return writer.bytes()

    files = [file, other(norm="blk.1.attn_norm.weight"), other(norm="token_embd_norm.weight"), other(rope_freqs=turned)]
    files += [other({f"lfm2.{name}": value}) for name, value in (("rope.freq_base", 5e4), ("attention.layer_norm_rms_epsilon", 1e-3))]
    identities = [LanguageModel(each, kernels).runner.cache.identity for each in [*files, other()]]
    assert len(set(identities)) == len(files) and identities[0] == identities[-1]


async def test_conversations_share_a_pool_and_go_on_from_their_caches(kernels, tmp_path):
    pool = Pool(4 << 20, kernels.empty)
    driver = await open_driver(str(tmp_path / "memory.db"))
    migrate(driver)
    model = LanguageModel(whole(), kernels, context=256, caching=Caching(pool, driver=driver))
    plain = LanguageModel(whole(), kernels, context=256)
    texts = {name: model.tokenizer.encode(text) for name, text in (("a", "The engine ran hot because"), ("b", "A boat of wood leaks"))}
    for turn in range(3):
        for session, ids in texts.items():
            if turn == 1:
                model.caches.freeze(session)
            stream, expected = model.generate(ids, GREEDY, session=session, max_tokens=8), plain.generate(ids, GREEDY, max_tokens=8)
            await stream.text(), await expected.text()
            assert stream.ids == expected.ids
            if turn:
                assert stream.usage.prompt_tokens - stream.usage.cached_tokens < 16
            texts[session] = ids + stream.ids + model.tokenizer.encode(" and then")
    assert model.caches.hits == {"gone": 2, "hot": 2, "cold": 2, "warm": 0}
    edited = texts["a"][:40] + model.tokenizer.encode("!")
    stream, expected = model.generate(edited, GREEDY, session="a", max_tokens=8), plain.generate(edited, GREEDY, max_tokens=8)
    await stream.text(), await expected.text()
    assert stream.ids == expected.ids and stream.usage.cached_tokens == 40
    streams = [model.scheduler().submit(ids, GREEDY, max_tokens=4) for ids in texts.values()]
    assert all([await stream.text() is not None for stream in streams])
    await driver.close()
