import asyncio

import numpy as np
import onnx
import pytest
from tokenizers import Tokenizer

from pyruvllm.errors import ModelError
from pyruvllm.host.native import NativeHost
from pyruvllm.models.hub import metadata_of
from pyruvllm.models.onnx_lm import OnnxRunner, open_onnx
from pyruvllm.models.tokenizer import load
from tests.contracts.chat import *  # noqa: F403
from tests.contracts.dialogue import *  # noqa: F403
from tests.contracts.generated import GeneratedContract
from tests.contracts.generation import *  # noqa: F403
from tests.contracts.onnx_lm import OnnxLanguageModelContract
from tests.contracts.onnx_lm import test_files_of_a_repository_that_describe_no_tokenizer_are_refused as test_files_are_refused  # noqa: F401
from tests.contracts.speaker import PROMPT, OnnxSpeakers, nothing, runner_of
from tests.contracts.speculative import *  # noqa: F403
from tests.contracts.turns import *  # noqa: F403
from tests.generators.onnx_decoder import repository, write


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("assets")
    write(folder)
    return folder


@pytest.fixture
def host(folder, monkeypatch):
    monkeypatch.setenv("PYRUVLLM_ASSETS", str(folder))
    return NativeHost()


@pytest.fixture(scope="module")
def speakers(folder):
    """For the suites of what a language model says, which stand above."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYRUVLLM_ASSETS", str(folder))
        return asyncio.run(OnnxSpeakers.open(NativeHost()))


class TestNative(OnnxLanguageModelContract):
    pass


class TestGenerated(GeneratedContract):
    @pytest.fixture
    def load(self, host):
        return lambda llm, name: llm.models.load_onnx(name)


def test_a_tokenizer_of_the_hub_is_that_of_the_gguf_file():
    files = repository()
    own, other = load(metadata_of(files, "x")), Tokenizer.from_str(files["tokenizer.json"].decode())
    for text in ("The engine, 12345 times!", "é€\n\n  x", "it's\tHERE"):
        assert own.encode(text) == other.encode(text, add_special_tokens=False).ids


@pytest.mark.parametrize(
    ("inputs", "outputs", "says"),
    [
        ({"input_ids": (), "attention_mask": (), "pixel_values": ()}, ("logits",), "wants 'pixel_values'"),
        ({"input_ids": ()}, ("logits",), "has no attention_mask"),
        ({"input_ids": (), "attention_mask": ()}, ("hidden",), "has no logits"),
        ({"input_ids": (), "attention_mask": (), "past_conv.0": (1, 4, 3)}, ("logits",), "gives no 'present_conv.0'"),
        ({"input_ids": (), "attention_mask": (), "past_conv.0": (1, "h", 3)}, ("logits", "present_conv.0"), "of known sizes"),
    ],
)
def test_a_graph_of_another_kind_is_refused(inputs, outputs, says):
    class Session:
        pass

    session = Session()
    session.inputs = {name: ("float32", shape) for name, shape in inputs.items()}
    session.outputs = {name: ("float32", (1, 1, 9)) for name in outputs}
    with pytest.raises(ModelError, match=says):
        OnnxRunner(session, 10)


async def test_weights_may_lie_in_a_file_beside_the_graph(host, folder, kernels):
    graph = onnx.load_model_from_string((folder / "tiny" / "onnx" / "model.onnx").read_bytes())
    options = {"save_as_external_data": True, "all_tensors_to_one_file": True, "location": "apart.onnx_data", "size_threshold": 100}
    onnx.save_model(graph, str(folder / "tiny" / "onnx" / "apart.onnx"), **options)
    model = await open_onnx(host, "tiny", "onnx/apart.onnx", external=["apart.onnx_data"])
    assert model.nbytes > (folder / "tiny" / "onnx" / "apart.onnx_data").stat().st_size > 10_000
    own, other = await model.runner.read(PROMPT, nothing), runner_of(kernels).feed(PROMPT)
    assert np.abs(own[0] - other).max() < 5e-3 * np.abs(other).max()
    await model.release()
