"""The browser host: values and errors across the border to JavaScript."""

import js
import numpy as np
import pytest
from pyodide.code import run_js

from pyruvllm import host
from pyruvllm.errors import FencedError, HostError, ModelError, QuotaError


def test_chosen_by_the_platform():
    assert host.current().name == "browser" and host.current() is host.current()


def test_values_cross_and_come_back():
    browser = host.current()
    value = {"a": [1, 2.5, "ü", None, True], "b": {"c": {}}}
    assert browser.to_py(browser.to_js(value)) == value
    assert str(run_js("x => x.constructor.name")(browser.to_js(value))) == "Object"
    assert browser.to_py(7) == 7 and browser.to_py("text") == "text"


@pytest.mark.parametrize("dtype, name", [("f4", "Float32Array"), ("i8", "BigInt64Array"), ("u1", "Uint8Array"), ("i4", "Int32Array")])
def test_arrays_become_typed_arrays(dtype, name):
    browser = host.current()
    array = np.arange(12, dtype=dtype).reshape(3, 4)[:, ::2]  # not contiguous
    crossed = browser.to_js(array)
    assert run_js("x => x.constructor.name")(crossed) == name
    assert np.asarray(browser.to_py(crossed)).tolist() == array.ravel().tolist()


@pytest.mark.parametrize(
    "javascript, kind",
    [
        ("Object.assign(new Error('gone'), {name: 'FencedError'})", FencedError),
        ("Object.assign(new Error('bad'), {name: 'ModelError'})", ModelError),
        ("new DOMException('full', 'QuotaExceededError')", QuotaError),
        ("new TypeError('odd')", HostError),
        ("Object.assign(new Error('x'), {name: 'annotations'})", HostError),
    ],
)
async def test_errors_become_this_packages(javascript, kind):
    browser = host.current()
    with pytest.raises(kind), browser.errors():
        run_js(f"() => {{ throw {javascript}; }}")()
    with pytest.raises(kind):
        await browser.call(run_js(f"async () => {{ throw {javascript}; }}")())


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
