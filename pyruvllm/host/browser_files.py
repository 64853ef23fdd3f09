"""Model files through the page's bridge (``web/src/bridge/files.ts``), and requests (``request.ts``)."""

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from .browser import BrowserHost


class BridgeFiles:
    def __init__(self, host: "BrowserHost", files: Any) -> None:
        self._host, self._files = host, files
        self.kind = str(files.kind)

    async def sizes(self) -> dict[str, int]:
        found = self._host.to_py(await self._host.call(self._files.sizes()))
        return {name: int(size) for name, size in found.items()}

    async def open(self, name: str, *, write: bool = False) -> "BridgeFile":
        return BridgeFile(self._host, await self._host.call(self._files.open(name, write)))

    async def delete(self, name: str) -> None:
        await self._host.call(self._files.remove(name))

    async def note(self, name: str) -> bytes | None:
        found = await self._host.call(self._files.note(name))
        return found.to_bytes() if found is not None else None

    async def keep(self, name: str, data: bytes | None) -> None:
        await self._host.call(self._files.keep(name, data))


class BridgeFile:
    """A file of the origin, or one that a person dropped on the page."""

    def __init__(self, host: "BrowserHost", file: Any) -> None:
        self._host, self._file = host, file

    @property
    def size(self) -> int:
        return int(self._file.size)

    async def read_into(self, offset: int, room: np.ndarray) -> None:
        await self._host.call(self._file.readInto(offset, room))

    async def append(self, data: bytes) -> None:
        await self._host.call(self._file.append(data))

    async def flush(self) -> None:
        await self._host.call(self._file.flush())

    async def close(self) -> None:
        await self._host.call(self._file.close())


class BridgeAnswer:
    def __init__(self, host: "BrowserHost", answer: Any) -> None:
        self._host, self._answer = host, answer
        self.status = int(answer.status)
        self.headers: dict[str, str] = host.to_py(answer.headers)

    async def next(self) -> bytes:
        part = await self._host.call(self._answer.next())
        return part.to_bytes() if part is not None else b""

    async def close(self) -> None:
        self._answer.cancel()
