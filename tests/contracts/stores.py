"""What the contracts of the typed stores share. Each is bound by a fixture ``open_memory``:

``async (name="main", *, embedder=None, config=None, readonly=False) -> UnifiedMemory``; the same name is the same database.
"""

import asyncio
import hashlib
import itertools
import re
from collections.abc import Callable
from contextlib import asynccontextmanager
from dataclasses import replace

import numpy as np

from pyruvllm.config import DIMENSION, ChunkConfig, Config
from pyruvllm.embed.space import Space
from pyruvllm.errors import EmbeddingError, QuotaError
from pyruvllm.memory.unified import UnifiedMemory
from pyruvllm.memory.witness import WitnessEntry
from pyruvllm.storage import open_driver
from pyruvllm.types import Latency, RoutingDecision
from tests.contracts.writeback import HandClock

COUNTER = itertools.count()
WORD = re.compile(r"\w+|[^\w\s]")


class WordEmbedder:
    """A text is the sum of its words, a word is a fixed random direction: near texts share words. Tokens are words and signs."""

    def __init__(self) -> None:
        self.space = Space("words", "1")
        self.asked = 0  # texts embedded
        self.fail_at: int | None = None  # raises at this text

    async def embed(self, texts, *, progress=None):
        vectors = np.zeros((len(texts), DIMENSION), np.float32)
        for place, text in enumerate(texts):
            if self.asked == self.fail_at:
                raise EmbeddingError("the model gave up")
            self.asked += 1
            vectors[place] = sum(_direction(word) for word in WORD.findall(text.lower()))
        return _unit(vectors)

    def count(self, text):
        return len(self.spans(text))

    def spans(self, text):
        return [match.span() for match in WORD.finditer(text)]


def _direction(word: str) -> np.ndarray:
    seed = int.from_bytes(hashlib.sha256(word.encode()).digest()[:8], "little")
    return np.random.default_rng(seed).standard_normal(DIMENSION).astype(np.float32)


def _unit(vectors: np.ndarray) -> np.ndarray:
    return (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float16).astype(np.float32)


def vector(seed: int) -> np.ndarray:
    """(768,) float32 of unit length, exact in float16."""
    return _unit(np.random.default_rng(seed).standard_normal(DIMENSION))


def settings_at(clock: HandClock, **changes) -> Config:
    return replace(Config(clock=clock, chunk=ChunkConfig(size=40, overlap=8)), **changes)


ROUTING = RoutingDecision("1.2B", 2048, 0.7, 0.9, 0.25, (0.1, 0.2, 0.6, 0.1), "some-policy")


def entry(number: int, **changes) -> WitnessEntry:
    """A witness entry that differs from the others in every field that can."""
    values = {
        "request_id": f"request-{number}",
        "session_id": f"session-{number % 3}",
        "query": f"what about matter number{number} and harbour?",
        "routing_decision": replace(ROUTING, confidence=number / 1000),
        "model_used": "extractive",
        "latency": Latency(1.5, 2.25, 0.125, 0.5, 3.0, 7.0 + number),
        "context_doc_ids": (f"passage-{number}", "passage-x"),
        "query_embedding": vector(number),
        "response_embedding": vector(number + 10_000),
        "timestamp": 1_700_000_000_000 + number,
    }
    return WitnessEntry(**{**values, **changes})


@asynccontextmanager
async def opening(database: Callable[[str], str]):
    """What an ``open_memory`` fixture yields; ``database`` says what the driver calls a memory. Closes what it opened."""
    opened = []

    async def open_memory(name="main", *, embedder=None, config=None, readonly=False):
        driver = await open_driver(database(name), readonly=readonly)
        opened.append(driver)
        return await UnifiedMemory.open(driver, embedder or WordEmbedder(), config or settings_at(HandClock()))

    yield open_memory
    for driver in reversed(opened):
        await driver.close()


def another() -> str:
    """A name that no memory had yet: a hypothesis test opens a memory per example."""
    return f"example-{next(COUNTER)}"


class FullDisk:
    """While it is entered, flushes of the memory fail as they do on a full disk."""

    def __init__(self, memory):
        self.driver = memory.driver

    def __enter__(self):
        async def flush():
            raise QuotaError("the disk is full")

        self.driver.flush = flush

    def __exit__(self, *_):
        del self.driver.flush


class SlowDisk:
    """While it is entered, flushes of the memory wait until ``gate`` is set."""

    def __init__(self, memory):
        self.driver, self.gate = memory.driver, asyncio.Event()

    def __enter__(self):
        flush = self.driver.flush

        async def slow():
            await self.gate.wait()
            await flush()

        self.driver.flush = slow
        return self

    def __exit__(self, *_):
        del self.driver.flush


def tables(memory) -> dict[str, int]:
    """How many rows each table has that a write of a store touches."""
    names = ("records", "vectors", "postings", "edges", "documents", "passages", "sessions", "turns", "policies", "witness")
    return {name: memory.driver.query(f"SELECT count(*) FROM {name}")[0][0] for name in names}
