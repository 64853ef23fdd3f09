"""A model at a server as a source of bytes: read once from beginning to end, straight into its place, with nothing kept on this device."""

import numpy as np

from ..errors import ModelError, TruncatedError
from .transfer import Request, Transfer

SKIPPED = 1 << 20  # bytes that are read over sooner than asked for anew
TRIES = 3  # connections in a row that bring nothing


class Remote:
    """Tensors are asked for in the file's order, so that one request brings all. Errors: DownloadError."""

    def __init__(self, transfer: Transfer) -> None:
        self._transfer = transfer
        self._first = bytearray()  # what was read from the beginning: the head is looked at more than once
        self._left = memoryview(b"")  # came, and was not asked for yet
        self._at = 0  # of the first byte of what is left
        self.size = 0

    @classmethod
    async def open(cls, request: Request, url: str) -> "Remote":
        self = cls(Transfer(request, url))
        await self._transfer.start(0)
        if self._transfer.size is None:
            raise ModelError(f"{url}: the server does not say how long the file is; download it and open it from there")
        self.size = self._transfer.size
        return self

    async def read_into(self, offset: int, room: np.ndarray) -> None:
        if offset + room.size > self.size:
            raise ModelError(f"{self._transfer.url} ends at byte {self.size}, and {offset + room.size} are wanted")
        known = max(0, min(room.size, len(self._first) - offset))
        room[:known] = np.frombuffer(self._first, np.uint8, known, offset) if known else 0
        if known == room.size:
            return
        await self._seek(offset + known)
        heading = offset + known == len(self._first)
        while known < room.size:
            part = await self._take(room.size - known)
            room[known : known + len(part)] = np.frombuffer(part, np.uint8)
            known += len(part)
            if heading and offset == 0:
                self._first += part

    async def close(self) -> None:
        await self._transfer.close()

    async def _seek(self, offset: int) -> None:
        if self._at <= offset <= self._at + len(self._left) + SKIPPED:
            while self._at < offset:
                await self._take(offset - self._at)
        else:
            self._left, self._at = memoryview(b""), offset
            await self._transfer.start(offset)

    async def _take(self, most: int) -> memoryview:
        tries = TRIES
        while not self._left:
            try:
                self._left = memoryview(await self._transfer.next())
            except TruncatedError:
                tries -= 1
                if not tries:
                    raise
                await self._transfer.start(self._at)
        part, self._left = self._left[:most], self._left[most:]
        self._at += len(part)
        return part
