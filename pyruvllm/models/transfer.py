"""A file at a server, read from any byte on: over ranges where the server has them, and never a mixture of two files.

What is relied on: RFC 9110, sections 8.8 (validators), 13.1.5 (If-Range) and 14 (ranges). A page may not read all of it from another
origin; what cannot be compared is left to the sha256.
"""

import re
from collections.abc import Awaitable, Callable, Mapping
from urllib.parse import urlsplit

from ..errors import ChangedError, ConfigError, DownloadError, RangeError, TruncatedError, UnreachableError
from ..host import Answer

Request = Callable[[str, dict[str, str]], Awaitable[Answer]]


class Transfer:
    """size, etag, modified: of the file as it was when a download began; None: not known yet, or not told. Errors: DownloadError."""

    def __init__(self, request: Request, url: str, size: int | None = None, etag: str | None = None, modified: str | None = None) -> None:
        if urlsplit(url).scheme not in ("", "http", "https"):
            raise ConfigError(f"{url!r} is no address of a file; http:// and https:// are read")
        self.url, self.size, self.etag, self.modified = url, size, etag, modified
        self.at = 0  # of the byte that comes next
        self._request = request
        self._answer: Answer | None = None

    async def start(self, at: int) -> None:
        """Asks for the bytes from ``at`` on; ``next`` gives them."""
        await self.close()
        headers = {"Accept-Encoding": "identity"}
        if at:
            headers["Range"] = f"bytes={at}-"
            if validator := self.etag if self.etag and not self.etag.startswith("W/") else self.modified:
                headers["If-Range"] = validator
        self._answer = await self._request(self.url, headers)
        self.at = at
        try:
            self._accept(self._answer, at)
        except BaseException:
            await self.close()
            raise

    def _accept(self, answer: Answer, at: int) -> None:
        told = answer.headers
        if answer.status == 206:
            self._accept_part(told, at)
        elif answer.status == 416:
            raise ChangedError(f"{self.url} has no byte {at}: the file there is another one now; {at} bytes of the old one are kept")
        elif answer.status != 200:
            kept = f"; {at} bytes are kept" if at else ""
            final = 400 <= answer.status < 500 and answer.status not in (408, 429)  # asking again brings the same
            raise (DownloadError if final else UnreachableError)(f"{self.url}: the server answered {answer.status}{kept}")
        else:
            length = _number(told.get("content-length")) if "content-encoding" not in told else None
            if at:
                self._compare(told, length, at)
                raise RangeError(f"{self.url}: the server cannot go on at byte {at}, only begin anew; {at} bytes are kept until then")
            self.size, self.etag, self.modified = length, told.get("etag"), told.get("last-modified")

    def _accept_part(self, told: Mapping[str, str], at: int) -> None:
        found = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+|\*)", told.get("content-range", ""))
        length = _number(told.get("content-length"))
        total = _number(found[3]) if found else at + length if length is not None else None
        if found and int(found[1]) != at:
            raise RangeError(f"{self.url}: the server was asked for byte {at} and sends from {found[1]}; {at} bytes are kept")
        self._compare(told, total, at)

    def _compare(self, told: Mapping[str, str], total: int | None, at: int) -> None:
        pairs = [("length", self.size, total), ("ETag", self.etag, told.get("etag")), ("date", self.modified, told.get("last-modified"))]
        for name, before, now in pairs:
            if before is not None and now is not None and before != now:
                raise ChangedError(
                    f"{self.url} is another file now (its {name} was {before} and is {now}): it is to be downloaded anew; "
                    f"{at} bytes of the old one are kept until then"
                )

    async def next(self) -> bytes:
        """The next bytes; empty at the end of the file."""
        assert self._answer is not None
        part = await self._answer.next()
        self.at += len(part)
        if self.size is not None and self.at > self.size:
            raise ChangedError(f"{self.url} has {self.size} bytes, and more came")
        if not part and self.size is not None and self.at < self.size:
            raise TruncatedError(f"{self.url} ended at byte {self.at} of {self.size}")
        return part

    async def close(self) -> None:
        answer, self._answer = self._answer, None
        if answer is not None:
            await answer.close()


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and text.isdecimal() else None
