"""Big files of this host, such as models, and requests to the network: the protocols.

Implementations: ``browser_files`` (the page's bridge) and ``native_files`` (a folder, ``urllib``).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np


class OpenFile(Protocol):
    """A file that is read anywhere and written at its end only."""

    @property
    def size(self) -> int: ...

    async def read_into(self, offset: int, room: np.ndarray) -> None:
        """Fills room, uint8 that lies in one piece, with the bytes from offset on. StorageError where the file ends before."""

    async def append(self, data: bytes) -> None:
        """QuotaError where the disk is full; what was there before stays."""

    async def flush(self) -> None:
        """Returns when what was appended is on disk."""

    async def close(self) -> None: ...


class Files(Protocol):
    """Names are letters, digits, ``-`` and ``.``; StorageError for what cannot be done. One at a time writes a file, here or elsewhere."""

    kind: str  # "opfs", "indexeddb" or "folder"

    async def sizes(self) -> dict[str, int]:
        """Bytes of each file that is there."""

    async def open(self, name: str, *, write: bool = False) -> OpenFile:
        """A file to read, or to go on with; one that is not there is made when it is to be written."""

    async def delete(self, name: str) -> None:
        """A file that is not there is no error."""

    async def note(self, name: str) -> bytes | None:
        """A small record beside the files; None where it is not there."""

    async def keep(self, name: str, data: bytes | None) -> None:
        """Puts a small record, durably and whole or not at all; None takes it away."""


class Answer(Protocol):
    """The answer to a request. headers: names in lower case; those that a server of another origin does not show to a page are missing."""

    status: int
    headers: Mapping[str, str]

    async def next(self) -> bytes:
        """The next bytes, empty at the end. TruncatedError, OfflineError."""

    async def close(self) -> None: ...


@dataclass(frozen=True)
class Device:
    """memory: bytes of the machine, as far as it tells (browsers round, and say at most 8 GB); heap: bytes that the memory of the kernels,
    in a browser Python's own, holds now, and limit: those that it can grow to. None where the host does not tell.
    """

    memory: int | None
    heap: int | None
    limit: int | None
