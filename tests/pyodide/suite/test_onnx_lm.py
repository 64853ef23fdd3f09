"""Language models in ONNX through onnxruntime-web. Their files come with the tests (web/build/assemble.py), not from the page's server."""

from pathlib import Path

import pytest

from pyruvllm.errors import ModelError
from pyruvllm.host.browser import BrowserHost
from tests.contracts.onnx_lm import OnnxLanguageModelContract

FOLDER = Path("generated")


class FolderHost(BrowserHost):
    async def asset(self, path, progress=None):
        if not (FOLDER / path).is_file():
            raise ModelError(f"there is no {path}")
        return (FOLDER / path).read_bytes()

    async def onnx_session(self, path, progress=None, **options):
        return await super().onnx_session(await self.asset(path), progress, **options)


@pytest.fixture
def host():
    return FolderHost()


class TestOnnxruntimeWeb(OnnxLanguageModelContract):
    pass
