"""The embedder's contract with onnxruntime, and its cache over sqlite3."""

import pytest

from pyruvllm import host
from pyruvllm.embed import CachedEmbedder, OnnxEmbedder
from tests.contracts.embedder import CacheContract, EmbedderContract

pytestmark = pytest.mark.asset
loaded = []


@pytest.fixture
async def embedder():
    if not loaded:
        loaded.append(await OnnxEmbedder.open(host.current()))
    return loaded[0]


class TestOnnxruntime(EmbedderContract):
    pass


class TestCache(CacheContract):
    pass


class TestCachedEmbedder(EmbedderContract):
    @pytest.fixture
    async def embedder(self, embedder, driver):
        return CachedEmbedder(embedder, driver)

    driver = CacheContract.driver
