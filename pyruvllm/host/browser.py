"""Pyodide: what Python cannot do by itself it asks of the JavaScript bridge, ``globalThis.pyruvllmBridge``.

The only module of the package that imports ``js`` or ``pyodide``. Crossing rules, for all who talk to the bridge:
values go over with ``to_js``, come back with ``to_py``, promises are awaited with ``call``, and plain calls are made under
``errors()``, so that a JavaScript error always arrives as one of this package's errors.
"""

import os
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import js
import numpy as np
import pyodide_js
from pyodide.ffi import JsException, can_run_sync, create_proxy, run_sync
from pyodide.ffi import to_js as convert

from .. import errors as kinds
from ..errors import HostError, ModelError, RuvLLMError
from .base import Progress
from .browser_files import BridgeAnswer, BridgeFile, BridgeFiles
from .files import Device

NONCE_BYTES = 12  # of AES-GCM

# The smallest modules that need a feature: one function whose body is, in WAT, what stands beside it.
_HEAD = b"\0asm\1\0\0\0\1\4\1`\0\0\3\2\1\0\n"
PROBES = {
    "simd128": _HEAD + b"\x09\1\7\0A\0\xfd\x0f\x1a\x0b",  # i32.const 0  i8x16.splat  drop
    "relaxed-simd": _HEAD + b"\x10\1\x0e\0A\0\xfd\x0fA\0\xfd\x0f\xfd\x80\2\x1a\x0b",  # two splats  i8x16.relaxed_swizzle  drop
}


class BrowserHost:
    name = "browser"

    @property
    def bridge(self) -> Any:
        """The bridge object of ``web/src/bridge``; HostError where no script has put it there."""
        bridge = getattr(js, "pyruvllmBridge", None)
        if bridge is None:
            raise HostError(
                "globalThis.pyruvllmBridge is missing: load pyruvllm's bridge.js in this page or worker before opening a memory; "
                "it brings the database, the disk and the embedding model"
            )
        return bridge

    def to_js(self, value: Any) -> Any:
        """Copies a value over: dict to object, list and tuple to Array, bytes to Uint8Array, a numpy array to a typed array (flat)."""
        if isinstance(value, np.ndarray):
            value = np.ascontiguousarray(value).reshape(-1)
        return convert(value, dict_converter=js.Object.fromEntries)

    def to_py(self, value: Any) -> Any:
        """Copies a value back: object to dict, Array to list, a typed array or ArrayBuffer to a memoryview of its type."""
        return value.to_py() if hasattr(value, "to_py") else value

    @contextmanager
    def errors(self) -> Iterator[None]:
        """JavaScript errors raised inside become this package's: the class their ``name`` names, else HostError."""
        try:
            yield
        except JsException as error:
            raise translated(error) from error

    async def call(self, promise: Awaitable[Any]) -> Any:
        """Awaits a promise of the bridge. Errors as in ``errors``."""
        with self.errors():
            return await promise

    def callback(self, function: Callable[..., Any]) -> Any:
        """A function for JavaScript to call whenever it likes; to be given back by ``destroy()``."""
        return create_proxy(function)

    async def asset(self, path: str, progress: Progress | None = None) -> bytes:
        with reporting(progress) as report:
            try:
                return (await self.call(self.bridge.asset(path, report))).to_bytes()
            except HostError as error:
                raise ModelError(f"the page's server did not give {path}: {error}") from error

    async def onnx_session(
        self, path: str | bytes, progress: Progress | None = None, *, sha256: str | None = None, external: Sequence[str] = ()
    ) -> "BrowserOnnxSession":
        with reporting(progress) as report:
            try:
                asked = self.bridge.createSession(self.to_js(path), report, sha256, self.to_js(list(external)))
                return BrowserOnnxSession(self, await self.call(asked))
            except HostError as error:
                raise ModelError(f"{path if isinstance(path, str) else 'the ONNX model'} did not load: {error}") from error

    async def verify_ed25519(self, public_key: bytes, signature: bytes, message: bytes) -> bool | None:
        subtle = getattr(getattr(js, "crypto", None), "subtle", None)
        if subtle is None:  # as in pages that came over plain HTTP
            return None
        algorithm = self.to_js({"name": "Ed25519"})
        try:
            key = await subtle.importKey("raw", self.to_js(public_key), algorithm, False, self.to_js(["verify"]))
            return bool(await subtle.verify(algorithm, key, self.to_js(signature), self.to_js(message)))
        except JsException:  # an engine without Ed25519, or one that refuses the key
            return None

    async def files(self, kind: str | None = None) -> BridgeFiles:
        return BridgeFiles(self, await self.call(self.bridge.openFiles(kind)))

    def file(self, source: Any) -> BridgeFile:
        if not hasattr(source, "arrayBuffer"):
            raise ModelError(f"{source!r} is no File or Blob of the browser")
        return BridgeFile(self, self.bridge.openBlob(source))

    async def request(self, url: str, headers: dict[str, str]) -> BridgeAnswer:
        return BridgeAnswer(self, await self.call(self.bridge.openRequest(url, self.to_js(headers))))

    def device(self) -> Device:
        told = getattr(getattr(js, "navigator", None), "deviceMemory", None)  # GB, in Chromium only
        return Device(int(told * (1 << 30)) if told else None, self.memory_bytes(), 4 << 30)

    async def seal(self, key: bytes, plain: bytes, bound: bytes = b"") -> bytes:
        subtle, nonce = subtle_crypto(), os.urandom(NONCE_BYTES)
        with self.errors():
            cipher = await subtle.encrypt(self._aes_gcm(nonce, bound), await self._aes_key(key, "encrypt"), self.to_js(plain))
            return nonce + cipher.to_bytes()

    async def unseal(self, key: bytes, sealed: bytes, bound: bytes = b"") -> bytes | None:
        subtle = subtle_crypto()
        with self.errors():
            secret = await self._aes_key(key, "decrypt")
            nonce, cipher = sealed[:NONCE_BYTES], sealed[NONCE_BYTES:]
            try:
                return (await subtle.decrypt(self._aes_gcm(nonce, bound), secret, self.to_js(cipher))).to_bytes()
            except JsException:  # OperationError: the tag does not fit
                return None

    def _aes_gcm(self, nonce: bytes, bound: bytes) -> Any:
        return self.to_js({"name": "AES-GCM", "iv": nonce, "additionalData": bound})

    async def _aes_key(self, key: bytes, use: str) -> Any:
        return await js.crypto.subtle.importKey("raw", self.to_js(key), "AES-GCM", False, self.to_js([use]))

    def wait(self, work: Coroutine[Any, Any, Any]) -> Any:
        if not can_run_sync():
            work.close()
            raise HostError("nothing can be waited for here without JSPI: await the method's asynchronous twin")
        return run_sync(work)

    def memory_bytes(self) -> int | None:
        """Bytes of the interpreter's WebAssembly memory; it grows and never shrinks."""
        return pyodide_js._module.HEAPU8.byteLength

    def device_bytes(self) -> int | None:
        """navigator.deviceMemory; None where the browser has none (Firefox, Safari)."""
        told = getattr(getattr(js, "navigator", None), "deviceMemory", None)
        return int(told * (1 << 30)) if isinstance(told, int | float) and told > 0 else None

    def engine(self) -> str:
        """The JavaScript engine that we are in: the browser's name for itself, or Node's version."""
        browser = getattr(getattr(js, "navigator", None), "userAgent", None)
        return str(browser) if browser else f"Node {js.process.version}"

    def wasm_features(self) -> frozenset[str]:
        """Of "simd128" and "relaxed-simd", those that this engine compiles."""
        return frozenset(name for name, probe in PROBES.items() if js.WebAssembly.validate(self.to_js(probe)))

    def wasm_exports(self, path: str) -> Any | None:
        """The exports of a side module that was loaded from this path; None where Pyodide keeps them to itself."""
        try:
            return pyodide_js._module.LDSO.loadedLibsByName.as_object_map()[path].exports
        except (AttributeError, KeyError, TypeError):  # not part of Pyodide's interface
            return None


class BrowserOnnxSession:
    def __init__(self, host: BrowserHost, session: Any):
        self._host = host
        self._session = session
        self.nbytes = int(session.bytes)
        self.inputs, self.outputs = (
            {each.name: (str(each.type), tuple(each.shape.to_py())) for each in given} for given in (session.inputs, session.outputs)
        )

    async def run(self, feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """One copy of each array each way: numpy -> typed array -> ONNX memory, and back."""
        return self._arrays(await self._host.call(self._session.run(self._values(feeds))))

    async def step(
        self, feeds: dict[str, np.ndarray], links: Mapping[str, str], held: "HeldTensors | None" = None
    ) -> tuple[dict[str, np.ndarray], "HeldTensors"]:
        asked = self._session.step(self._values(feeds), self._host.to_js(dict(links)), held.tensors if held else None)
        answer = await self._host.call(asked)
        return self._arrays(answer.values), HeldTensors(answer.held)

    async def release(self) -> None:
        await self._host.call(self._session.release())

    def _values(self, feeds: dict[str, np.ndarray]) -> Any:
        """Numbers of 16 bits cross as whole ones, with their type beside them."""
        given = {}
        for name, array in feeds.items():
            data = np.ascontiguousarray(array)
            half = data.dtype == np.float16
            given[name] = {"data": self._host.to_js(data.view(np.uint16) if half else data), "shape": list(array.shape)}
        return self._host.to_js(given)

    def _arrays(self, values: Any) -> dict[str, np.ndarray]:
        found = {name: np.asarray(tensor.data.to_py()).reshape(tensor.shape.to_py()) for name, tensor in values.object_entries()}
        return {name: array.view(np.float16) if array.dtype == np.uint16 else array for name, array in found.items()}


class HeldTensors:
    """They live on the other side, and go when nothing names them."""

    def __init__(self, tensors: Any):
        self.tensors = tensors

    def release(self) -> None:
        self.tensors = None


def subtle_crypto() -> Any:
    """WebCrypto. HostError where there is none, as in pages that came over plain HTTP."""
    subtle = getattr(getattr(js, "crypto", None), "subtle", None)
    if subtle is None:
        raise HostError("encryption needs WebCrypto, which this page does not have: serve it over HTTPS or from localhost")
    return subtle


@contextmanager
def reporting(progress: Progress | None) -> Iterator[Any]:
    """A proxy of the callback that JavaScript may call while the block runs; None for None."""
    if progress is None:
        yield None
        return
    proxy = create_proxy(lambda done, total: progress(int(done), int(total)))
    try:
        yield proxy
    finally:
        proxy.destroy()


def translated(error: JsException) -> RuvLLMError:
    """This package's error for a JavaScript one. The bridge names its errors after our classes (``error.name``)."""
    name = str(getattr(error, "name", "Error"))
    message = str(getattr(error, "message", error))
    kind: Callable[[str], RuvLLMError] | None = getattr(kinds, name, None)
    if isinstance(kind, type) and issubclass(kind, RuvLLMError):
        return kind(message)
    return HostError(f"{name}: {message}")
