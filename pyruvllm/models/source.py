"""Where the bytes of a model file come from: memory, a file of this host, a part of the network."""

from typing import Protocol

import numpy as np

from ..errors import ModelError
from .gguf import Head, Incomplete, read_head

FIRST = 1 << 20  # bytes of a file that are looked at first


class ByteSource(Protocol):
    size: int

    async def read_into(self, offset: int, room: np.ndarray) -> None:
        """Fills room, uint8 that lies in one piece, with the bytes from offset on. ModelError where the file ends before."""

    async def close(self) -> None: ...


class Bytes:
    """A whole file in memory, or mapped into it."""

    def __init__(self, data: bytes | memoryview | np.ndarray) -> None:
        self._data = np.frombuffer(data, np.uint8)
        self.size = self._data.size

    async def read_into(self, offset: int, room: np.ndarray) -> None:
        if offset + room.size > self.size:
            raise ModelError(f"the file ends at byte {self.size}, and {offset + room.size} are wanted")
        room[:] = self._data[offset : offset + room.size]

    async def close(self) -> None:
        pass


async def head_of(file: ByteSource) -> Head:
    """The head of a GGUF file, of which only as much is read as the head takes. GgufError."""
    size = min(FIRST, file.size)
    while True:
        data = np.empty(size, np.uint8)
        await file.read_into(0, data)
        try:
            return read_head(data.data, file.size)
        except Incomplete as more:
            size = min(max(more.needed, 2 * size), file.size)
