"""The catalogue's figures against models.md's and against files that are read, and what is said to fit."""

import numpy as np
import pytest

from pyruvllm.errors import NotFoundError
from pyruvllm.host import Device
from pyruvllm.models.catalog import CATALOG, find, fits
from pyruvllm.models.footprint import of_head
from pyruvllm.models.gguf import GgufWriter, read_head
from pyruvllm.models.language import LanguageModel
from pyruvllm.models.tokenizer.bytebpe import ALPHABET
from tests.generators.decoders import model_file

PUBLISHED = {"lfm2-350m": 354_483_968, "lfm2-700m": 742_489_344, "lfm2-1.2b": 1_170_340_608, "lfm2-2.6b": 2_569_272_320}
MEGABYTES = {"lfm2-350m": 217, "lfm2-700m": 444, "lfm2-1.2b": 693, "lfm2-2.6b": 1480}  # of tensors, Q4_0


@pytest.mark.parametrize("entry", CATALOG, ids=lambda entry: entry.id)
def test_an_entry_says_of_its_file_what_its_shape_says(entry):
    assert 1 <= entry.size / entry.data_bytes < 1.02, "what is not tensors is the vocabulary, mostly"
    assert entry.url.startswith("https://huggingface.co/") and entry.url.endswith(".gguf") and entry.licence
    assert entry.quantization.lower() == entry.kind and entry.quantization.lower() in entry.url.lower()
    assert entry.footprint(8192).cache > entry.footprint(4096).cache and entry.footprint().weights >= entry.data_bytes
    if entry.id in PUBLISHED:
        parameters = sum(int(np.prod(shape)) for _, shape in entry.tensors().values())
        assert parameters == PUBLISHED[entry.id]
        assert round(entry.data_bytes / 1e6) == pytest.approx(MEGABYTES[entry.id], abs=1)
        assert "LFM" in entry.licence


def test_an_entry_is_found_by_its_id():
    assert find("lfm2-350m").title == "LFM2 350M"
    with pytest.raises(NotFoundError, match="it has lfm2-350m"):
        find("gpt-5")


@pytest.mark.parametrize("architecture", ["lfm2", "llama", "qwen2", "qwen3"])
@pytest.mark.parametrize("kind", ["f16", "q4_0"])
async def test_what_a_file_needs_is_known_from_its_head(kernels, architecture, kind):
    file = model_file(architecture, kind, vocabulary=257)
    head = read_head(file)
    own = {"tokenizer.ggml.model": "gpt2", "tokenizer.ggml.merges": [], "tokenizer.ggml.tokens": [*ALPHABET, "<|im_end|>"]}
    own |= {"tokenizer.ggml.token_type": np.array([1] * 256 + [3], np.int32), "tokenizer.ggml.eos_token_id": 256}
    writer = GgufWriter({**head.metadata, **own})
    for tensor in head.tensors.values():
        writer.add_raw(tensor.name, file[tensor.offset : tensor.offset + tensor.size], tensor.kind.name, tensor.shape)
    model = LanguageModel(writer.bytes(), kernels, context=256)
    need = of_head(head, 256)
    assert need.weights == model.runner.parts.nbytes
    assert model.nbytes <= need.weights + need.cache + 1024 and need.total < need.weights + need.cache + (64 << 20)


GB = 1 << 30


@pytest.mark.parametrize(
    ("device", "verdict", "why"),
    [
        (Device(8 * GB, GB, 4 * GB), "fits", "needs 2.1 GB of the 8.6 GB"),
        (Device(3 * GB, GB, 4 * GB), "tight", "other tabs and programs"),
        (Device(2 * GB, GB, 4 * GB), "too large", "of the 2.1 GB"),
        (Device(8 * GB, 3 * GB, 4 * GB), "too large", "has room for 1.1 GB more"),
        (Device(None, GB, 4 * GB), "fits", "does not say how much memory"),
        (Device(None, None, None), "fits", "does not say"),
    ],
)
def test_what_fits(device, verdict, why):
    fit = fits(2 * GB, device)
    assert fit.verdict == verdict and why in fit.why


def test_the_model_that_goes_gives_its_room():
    assert fits(2 * GB, Device(None, 3 * GB, 4 * GB), held=GB).verdict == "fits"
