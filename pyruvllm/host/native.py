"""Native CPython: assets are files in a folder, models run in onnxruntime."""

import asyncio
import hashlib
import os
from collections.abc import Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import HostError, ModelError
from .base import Progress
from .files import Device
from .native_files import FolderFile, FolderFiles, NativeAnswer, request

ELEMENTS = {"tensor(float)": "float32", "tensor(float16)": "float16", "tensor(int64)": "int64", "tensor(int32)": "int32"}
READ_BYTES = 1 << 20  # per progress report
NONCE_BYTES = 12  # of AES-GCM


class NativeHost:
    name = "native"

    def assets(self) -> Path:
        """The folder assets are in: ``PYRUVLLM_ASSETS``, else ``pyruvllm/assets`` in the user's cache folder."""
        return self._folder("PYRUVLLM_ASSETS", "assets")

    def _folder(self, variable: str, name: str) -> Path:
        if chosen := os.environ.get(variable):
            return Path(chosen).expanduser()
        cache = os.environ.get("XDG_CACHE_HOME")
        return (Path(cache) if cache else Path.home() / ".cache") / "pyruvllm" / name

    async def asset(self, path: str, progress: Progress | None = None) -> bytes:
        return await asyncio.to_thread(read, self.locate(path), progress)

    async def onnx_session(
        self, path: str | bytes, progress: Progress | None = None, *, sha256: str | None = None, external: Sequence[str] = ()
    ) -> "NativeOnnxSession":
        try:
            import onnxruntime
        except ImportError as error:
            raise HostError("embedding text needs onnxruntime: pip install 'pyruvllm[native]'") from error
        data = await self.asset(path, progress) if isinstance(path, str) else path
        place = str(self.locate(path)) if isinstance(path, str) else "the model"
        if sha256 and (found := hashlib.sha256(data).hexdigest()) != sha256:
            raise ModelError(f"{place} has sha256 {found}, not {sha256}: delete it and build again")
        try:
            model = place if external else data  # by its place, it finds what lies beside it
            session = await asyncio.to_thread(onnxruntime.InferenceSession, model, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime's exceptions share no base class of their own
            raise ModelError(f"{place} is no ONNX model that onnxruntime {onnxruntime.__version__} can run: {error}") from error
        return NativeOnnxSession(session, len(data) + sum(self.locate(name).stat().st_size for name in external))

    async def verify_ed25519(self, public_key: bytes, signature: bytes, message: bytes) -> bool | None:
        try:
            from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
            from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
        except ImportError:
            return None
        try:
            Ed25519PublicKey.from_public_bytes(public_key).verify(signature, message)
        except UnsupportedAlgorithm:
            return None
        except (InvalidSignature, ValueError):
            return False
        return True

    async def files(self) -> FolderFiles:
        return FolderFiles(self._folder("PYRUVLLM_MODELS", "models"))

    def file(self, source: str | Path) -> FolderFile:
        path = Path(source).expanduser()
        if not path.is_file():
            raise ModelError(f"there is no file {str(path)!r}")
        return FolderFile(path.open("rb"))

    async def request(self, url: str, headers: dict[str, str]) -> NativeAnswer:
        return await request(url, headers)

    def device(self) -> Device:
        try:
            lines = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
            memory = int(lines["MemAvailable"].split()[0]) * 1024
        except (OSError, KeyError, ValueError):
            memory = None
        return Device(memory, None, 4 << 30)  # the memory of the kernels is one of 32-bit addresses

    async def seal(self, key: bytes, plain: bytes, bound: bytes = b"") -> bytes:
        nonce = os.urandom(NONCE_BYTES)
        return nonce + aes_gcm(key).encrypt(nonce, plain, bound)

    async def unseal(self, key: bytes, sealed: bytes, bound: bytes = b"") -> bytes | None:
        cipher = aes_gcm(key)
        from cryptography.exceptions import InvalidTag

        try:
            return cipher.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], bound)
        except (InvalidTag, ValueError):  # ValueError: too short for a nonce
            return None

    def wait(self, work: Coroutine[Any, Any, Any]) -> Any:
        work.close()
        raise HostError("a running event loop cannot be waited for from inside: await the method's asynchronous twin here")

    def memory_bytes(self) -> int | None:
        """Resident bytes of this process; None where the system has no /proc."""
        try:
            pages = int(Path("/proc/self/statm").read_text().split()[1])
        except OSError:
            return None
        return pages * os.sysconf("SC_PAGE_SIZE")

    def device_bytes(self) -> int | None:
        """Physical memory; None where the system does not tell."""
        try:
            return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        except (AttributeError, OSError, ValueError):
            return None

    def locate(self, path: str) -> Path:
        file = self.assets() / path
        if not file.is_file():
            raise ModelError(
                f"{file} is missing. `./build.sh demo` or `./build.sh test` puts it there; "
                f"PYRUVLLM_ASSETS names another folder that has {path}"
            )
        return file


class NativeOnnxSession:
    def __init__(self, session: Any, nbytes: int = 0):
        self._session, self.nbytes = session, nbytes
        self.inputs, self.outputs = (
            {each.name: (ELEMENTS.get(each.type, each.type), tuple(each.shape)) for each in given}
            for given in (session.get_inputs(), session.get_outputs())
        )

    async def run(self, feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """In a thread, so that the event loop goes on."""
        values = await asyncio.to_thread(self._session.run, list(self.outputs), feeds)
        return dict(zip(self.outputs, values, strict=True))

    async def step(
        self, feeds: dict[str, np.ndarray], links: Mapping[str, str], held: "HeldArrays | None" = None
    ) -> tuple[dict[str, np.ndarray], "HeldArrays"]:
        before = held.arrays if held else {}
        values = await self.run({**{name: before[links[name]] for name in links if name not in feeds}, **feeds})
        kept = HeldArrays({name: values.pop(name) for name in links.values()})
        return values, kept

    async def release(self) -> None:
        self._session = None


class HeldArrays:
    def __init__(self, arrays: dict[str, np.ndarray]):
        self.arrays = arrays

    def release(self) -> None:
        self.arrays = {}


def aes_gcm(key: bytes) -> Any:
    try:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    except ImportError as error:
        raise HostError("encryption needs the package cryptography: pip install 'pyruvllm[native]'") from error
    return AESGCM(key)


def read(file: Path, progress: Progress | None) -> bytes:
    total = file.stat().st_size
    parts = bytearray()
    with file.open("rb") as stream:
        while part := stream.read(READ_BYTES):
            parts += part
            if progress:
                progress(len(parts), max(total, len(parts)))
    return bytes(parts)
