"""The browser host: values and errors across the border to JavaScript."""

import js
import numpy as np
import pytest

from pyruvllm import host
from pyruvllm.errors import FencedError, HostError, ModelError, QuotaError


def test_chosen_by_the_platform():
    assert host.current().name == "browser" and host.current() is host.current()


def test_values_cross_and_come_back():
    browser = host.current()
    value = {"a": [1, 2.5, "ü", None, True], "b": {"c": {}}}
    assert browser.to_py(browser.to_js(value)) == value
    assert browser.to_js(value).constructor.name == "Object"
    assert browser.to_py(7) == 7 and browser.to_py("text") == "text"


@pytest.mark.parametrize("dtype, name", [("f4", "Float32Array"), ("i8", "BigInt64Array"), ("u1", "Uint8Array"), ("i4", "Int32Array")])
def test_arrays_become_typed_arrays(dtype, name):
    browser = host.current()
    array = np.arange(12, dtype=dtype).reshape(3, 4)[:, ::2]  # not contiguous
    crossed = browser.to_js(array)
    assert crossed.constructor.name == name
    assert np.asarray(browser.to_py(crossed)).tolist() == array.ravel().tolist()


def named(name, message):
    """A JavaScript error as the bridge makes them."""
    return js.Object.assign(js.Error.new(message), host.current().to_js({"name": name}))


@pytest.mark.parametrize(
    "error, kind",
    [
        (lambda: named("FencedError", "another tab writes"), FencedError),
        (lambda: named("ModelError", "not a model"), ModelError),
        (lambda: named("QuotaError", "full"), QuotaError),
        (lambda: js.TypeError.new("odd"), HostError),
        (lambda: named("annotations", "a name of something else in the module of errors"), HostError),
    ],
    ids=["fenced", "model", "quota", "type", "other"],
)
async def test_errors_become_this_packages(error, kind):
    browser = host.current()
    with pytest.raises(kind), browser.errors():
        js.AbortSignal.abort(error()).throwIfAborted()  # throws it as it is
    with pytest.raises(kind):
        await browser.call(js.Promise.reject(error()))


async def test_a_missing_asset_is_named():
    with pytest.raises(ModelError, match="models/none.json"):
        await host.current().asset("models/none.json")


async def test_an_asset_is_bytes():
    assert (await host.current().asset("wasm/sql-wasm.wasm"))[:4] == b"\0asm"


def test_without_the_bridge_it_says_what_to_load():
    kept = js.pyruvllmBridge
    js.pyruvllmBridge = None
    try:
        with pytest.raises(HostError, match="bridge.js"):
            host.current().bridge  # noqa: B018
    finally:
        js.pyruvllmBridge = kept


def test_memory_is_the_interpreters():
    assert host.current().memory_bytes() > 10 << 20
