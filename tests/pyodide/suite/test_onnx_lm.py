"""Language models in ONNX through onnxruntime-web. Their files come with the tests (web/build/assemble.py), not from the page's server."""

from pathlib import Path

import pytest

from pyruvllm.errors import ModelError
from pyruvllm.host.browser import BrowserHost
from tests.contracts.chat import *  # noqa: F403
from tests.contracts.dialogue import *  # noqa: F403
from tests.contracts.generated import GeneratedContract
from tests.contracts.generation import *  # noqa: F403
from tests.contracts.onnx_lm import OnnxLanguageModelContract
from tests.contracts.speaker import OnnxSpeakers
from tests.contracts.speculative import *  # noqa: F403
from tests.contracts.turns import *  # noqa: F403

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


@pytest.fixture(scope="module")
async def speakers():
    """For the suites of what a language model says, which stand above."""
    return await OnnxSpeakers.open(FolderHost())


class TestOnnxruntimeWeb(OnnxLanguageModelContract):
    pass


class TestGenerated(GeneratedContract):
    @pytest.fixture
    def load(self):
        def load(llm, name):
            llm.models._host = FolderHost()
            return llm.models.load_onnx(name)

        return load
