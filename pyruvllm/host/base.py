"""What differs between a browser and a native Python, behind one interface. Chosen once, by ``pyruvllm.host.current()``.

``browser`` and ``native`` are the only modules of the package that may import ``js`` or ``pyodide``.
"""

from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, Protocol

from .files import Answer, Device, Files, OpenFile

Progress = Callable[[int, int], None]  # (done, total)


class Host(Protocol):
    name: str  # "browser" or "native"

    async def asset(self, path: str, progress: Progress | None = None) -> bytes:
        """A file the package needs beside its code, such as ``models/all-MiniLM-L6-v2/tokenizer.json``.

        Browser: from the page's own server, through the bridge. Native: from ``PYRUVLLM_ASSETS``, else the user's cache folder.
        Raises ModelError or HostError, saying where it looked and what puts it there.
        """

    async def onnx_session(
        self, path: str | bytes, progress: Progress | None = None, *, sha256: str | None = None, external: Sequence[str] = ()
    ) -> "OnnxSession":
        """The ONNX model at that asset path, or of these bytes, ready to run: onnxruntime-web in the browser, onnxruntime natively.
        external: assets in the same folder that hold its weights.

        With ``sha256`` (hex) a file that differs is refused with ModelError. HostError where there is no onnxruntime.
        """

    async def verify_ed25519(self, public_key: bytes, signature: bytes, message: bytes) -> bool | None:
        """Whether that key (32 bytes) signed the message so (64 bytes); None where this host cannot tell.

        Browser: WebCrypto. Native: the package cryptography.
        """

    async def files(self) -> Files:
        """Big files that last. Browser: the origin's private file system, else IndexedDB. Native: ``PYRUVLLM_MODELS``, else ``models`` in
        the user's cache folder.
        """

    def file(self, source: Any) -> OpenFile:
        """A file of the user's, to read: natively its path, in the browser a ``File`` or ``Blob`` of JavaScript. ModelError."""

    async def request(self, url: str, headers: dict[str, str]) -> Answer:
        """Asks a server for a file. OfflineError, UnreachableError, and in the browser RefusedError."""

    def device(self) -> Device:
        """What this machine has room for."""

    async def seal(self, key: bytes, plain: bytes, bound: bytes = b"") -> bytes:
        """AES-256-GCM: a random nonce (12 bytes), the ciphertext and its tag (16), which holds for ``bound`` too. ``key``: 32 bytes.

        Browser: WebCrypto. Native: the package cryptography. HostError where this host has neither.
        """

    async def unseal(self, key: bytes, sealed: bytes, bound: bytes = b"") -> bytes | None:
        """What was sealed with that key and ``bound``; None if it was with others, or was altered. HostError."""

    def wait(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Blocks until a coroutine is done, inside the running event loop. HostError where this host cannot: it is closed then.

        Browser: where the engine can suspend WebAssembly (JSPI) and something above awaits. Native: never.
        """

    def memory_bytes(self) -> int | None:
        """Memory held by this process or by the interpreter's heap; None where the host does not tell."""

    def device_bytes(self) -> int | None:
        """Memory that the device has, as far as the host tells: browsers round it, and name 8 GB at most; None where they do not."""


class OnnxSession(Protocol):
    inputs: Mapping[str, tuple[str, tuple[int | str | None, ...]]]  # by name: type, such as "float32", and sizes; a name where it varies
    outputs: Mapping[str, tuple[str, tuple[int | str | None, ...]]]
    nbytes: int  # of the model's files

    async def run(self, feeds: dict[str, Any]) -> dict[str, Any]:
        """numpy arrays in by input name, numpy arrays out by output name."""

    async def step(self, feeds: dict[str, Any], links: Mapping[str, str], held: "Held | None" = None) -> tuple[dict[str, Any], "Held"]:
        """As ``run``, with the inputs in links taken from what an earlier step held. links: by input, the output that it is at the next
        step. These outputs stay where the model runs, and are not among the arrays.
        """

    async def release(self) -> None:
        """Gives the model's memory back."""


class Held(Protocol):
    """What a step left for later ones. It may be used again and again, until it is released."""

    def release(self) -> None: ...
