"""Vectors of texts that were embedded before, in the database: the table ``embeddings``, by space and hash of the text.

Bounded: beyond the bound those go that were used longest ago. Writes join the next flush. A cache that may not write only reads.
"""

import hashlib
from collections.abc import Sequence

import numpy as np

from ..config import Clock
from ..errors import EmbeddingError
from ..storage import Driver
from .embedder import Embedder, Progress

BOUND = 4096  # vectors of 1.5 KB
SLACK = 256  # evicted at once, so that not every write looks for the oldest
TOUCH_MS = 3_600_000  # a use is noted once an hour: reading alone should not make pages to be written
ASK = 500  # hashes in one SELECT


class CachedEmbedder:
    """An embedder that asks ``inner`` only for texts it has not seen in this space."""

    def __init__(self, inner: Embedder, driver: Driver, *, bound: int = BOUND, clock: Clock | None = None):
        self.space = inner.space
        self.hits = 0
        self.misses = 0
        self._inner = inner
        self._driver = driver
        self._bound = bound
        self._clock = clock or Clock()

    def count(self, text: str) -> int:
        return self._inner.count(text)

    def spans(self, text: str) -> list[tuple[int, int]]:
        return self._inner.spans(text)

    async def embed(self, texts: Sequence[str], *, progress: Progress | None = None) -> np.ndarray:
        """As the inner embedder's. Progress counts texts, those found among them from the start. Equal texts are embedded once."""
        if isinstance(texts, str):
            return await self._inner.embed(texts)  # refuses it, in its words
        hashes = [digest(text) for text in texts]
        known = self._read(set(hashes))
        missing = {key: text for key, text in zip(hashes, texts, strict=True) if key not in known}
        self.hits += len(texts) - len(missing)
        self.misses += len(missing)
        if missing:
            found = len(texts) - len(missing)
            report = (lambda done, _: progress(found + done, len(texts))) if progress else None
            try:
                fresh = await self._inner.embed(list(missing.values()), progress=report)
            except EmbeddingError:
                await self._inner.embed(texts)  # refuses the same text, and names its place among all of them
                raise
            known.update(zip(missing, fresh, strict=True))
            self._write(dict(zip(missing, fresh, strict=True)))
        elif progress:
            progress(len(texts), len(texts))
        return np.stack([known[key] for key in hashes]) if hashes else np.zeros((0, self.space.dimension), np.float32)

    def _read(self, hashes: set[bytes]) -> dict[bytes, np.ndarray]:
        now = self._clock.now_ms()
        known: dict[bytes, np.ndarray] = {}
        stale: list[bytes] = []
        wanted = sorted(hashes)
        for start in range(0, len(wanted), ASK):
            some = wanted[start : start + ASK]
            marks = ",".join("?" * len(some))
            rows = self._driver.query(
                f"SELECT hash, vector, used_at FROM embeddings WHERE space = ? AND hash IN ({marks})", [self.space.key, *some]
            )
            for key, vector, used_at in rows:
                known[key] = np.frombuffer(vector, np.float16).astype(np.float32)
                if now - used_at > TOUCH_MS:
                    stale.append(key)
        if stale and self._driver.writable:
            self._driver.executemany(
                "UPDATE embeddings SET used_at = ? WHERE space = ? AND hash = ?", [(now, self.space.key, key) for key in stale]
            )
        return known

    def _write(self, vectors: dict[bytes, np.ndarray]) -> None:
        if not self._driver.writable:
            return
        now = self._clock.now_ms()
        with self._driver.transaction():
            self._driver.executemany(
                "INSERT OR REPLACE INTO embeddings (space, hash, vector, used_at) VALUES (?, ?, ?, ?)",
                [(self.space.key, key, vector.astype(np.float16).tobytes(), now) for key, vector in vectors.items()],
            )
            ((kept,),) = self._driver.query("SELECT count(*) FROM embeddings")
            if kept > self._bound:
                surplus = kept - max(self._bound - SLACK, self._bound // 2)
                self._driver.execute(
                    "DELETE FROM embeddings WHERE (space, hash) IN (SELECT space, hash FROM embeddings ORDER BY used_at LIMIT ?)", [surplus]
                )


def clear(driver: Driver) -> None:
    """Empties the cache: what is forgotten must not live on as the embedding of a sentence, a passage or a question."""
    driver.execute("DELETE FROM embeddings")


def digest(text: str) -> bytes:
    """16 bytes that stand for a text."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:16]
