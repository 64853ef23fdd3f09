import hashlib
import os

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from pyruvllm import host
from pyruvllm.errors import ModelError
from pyruvllm.host.native import NativeHost


@pytest.fixture
def assets(tmp_path, monkeypatch):
    monkeypatch.setenv("PYRUVLLM_ASSETS", str(tmp_path))
    return tmp_path


@pytest.fixture
def doubling(assets):
    """An ONNX model that adds its input to itself."""
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n"]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Add", ["x", "x"], ["y"])], "doubling", values[:1], values[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    (assets / "doubling.onnx").write_bytes(model.SerializeToString())
    onnx.checker.check_model(model)
    return assets / "doubling.onnx"


def test_native_python_has_the_native_host_once():
    assert host.current().name == "native"
    assert host.current() is host.current()


def test_assets_are_where_the_variables_say(monkeypatch, tmp_path):
    monkeypatch.delenv("PYRUVLLM_ASSETS", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert NativeHost().assets() == tmp_path / "cache" / "pyruvllm" / "assets"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert NativeHost().assets() == tmp_path / ".cache" / "pyruvllm" / "assets"
    monkeypatch.setenv("PYRUVLLM_ASSETS", str(tmp_path / "own"))
    assert NativeHost().assets() == tmp_path / "own"


async def test_an_asset_comes_whole_with_progress(assets):
    content = os.urandom((2 << 20) + 17)
    (assets / "big").write_bytes(content)
    seen = []
    assert await NativeHost().asset("big", lambda done, total: seen.append((done, total))) == content
    assert seen == [(1 << 20, len(content)), (2 << 20, len(content)), (len(content), len(content))]


async def test_a_missing_asset_says_where_and_what_to_do(assets):
    with pytest.raises(ModelError, match=r"build\.sh") as caught:
        await NativeHost().asset("models/none.json")
    assert str(assets / "models/none.json") in str(caught.value)


async def test_a_model_runs(doubling):
    session = await NativeHost().onnx_session("doubling.onnx", sha256=hashlib.sha256(doubling.read_bytes()).hexdigest())
    results = await session.run({"x": np.array([1, 2.5], np.float32)})
    assert results["y"].tolist() == [2, 5]


async def test_another_file_than_expected_is_refused(doubling):
    with pytest.raises(ModelError, match="sha256"):
        await NativeHost().onnx_session("doubling.onnx", sha256="0" * 64)


async def test_a_damaged_model_is_a_model_error(doubling):
    doubling.write_bytes(doubling.read_bytes()[:-9] + b"truncated")
    with pytest.raises(ModelError, match="onnxruntime"):
        await NativeHost().onnx_session("doubling.onnx")


def test_memory_is_counted():
    before = NativeHost().memory_bytes()
    held = np.ones(8 << 20)  # 64 MB
    assert NativeHost().memory_bytes() - before > 32 << 20 and held.size
