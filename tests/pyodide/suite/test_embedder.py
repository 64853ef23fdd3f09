"""The embedder's contract with onnxruntime-web, and its cache over sql.js."""

import pytest

from pyruvllm import host
from pyruvllm.embed import CachedEmbedder, OnnxEmbedder
from pyruvllm.errors import ModelError
from tests.contracts.embedder import CacheContract, EmbedderContract

loaded = []


@pytest.fixture
async def embedder():
    if not loaded:
        loaded.append(await OnnxEmbedder.open(host.current()))
    return loaded[0]


class TestOnnxruntimeWeb(EmbedderContract):
    pass


class TestCache(CacheContract):
    pass


class TestCachedEmbedder(EmbedderContract):
    @pytest.fixture
    async def embedder(self, embedder, driver):
        return CachedEmbedder(embedder, driver)

    driver = CacheContract.driver


@pytest.mark.asset
async def test_another_model_than_the_one_described_is_refused():
    with pytest.raises(ModelError, match="sha256"):
        await host.current().onnx_session("models/all-MiniLM-L6-v2/model.int8.onnx", sha256="0" * 64)


async def test_a_missing_or_unsound_model_is_a_model_error():
    with pytest.raises(ModelError, match="nowhere"):
        await host.current().onnx_session("models/nowhere.onnx")
    with pytest.raises(ModelError, match="no model"):
        await host.current().onnx_session("wasm/sql-wasm.wasm")


@pytest.mark.asset
async def test_the_model_reports_its_bytes():
    seen = []
    model = await host.current().asset("models/all-MiniLM-L6-v2/tokenizer.json", lambda done, total: seen.append((done, total)))
    assert model.startswith(b"{") and all(0 <= done <= total for done, total in seen)
