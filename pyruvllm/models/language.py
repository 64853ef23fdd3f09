"""A language model from a file: its tokenizer, its weights, and one sequence at work.

model = await open_model("LFM2-350M-Q4_0.gguf", kernels)
async for piece in model.generate("The engine ran hot because"): ...
"""

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from ..cache import Caching, KvCache, Pool, SessionCaches
from ..config import Clock
from ..errors import ModelError
from ..kernels.registry import KernelRegistry
from .adapter import Adapters
from .assistant import Assistant
from .decoder import Runner, form_of, own_cache
from .dialogue import Dialogue
from .gguf import Head, Incomplete, read_head
from .parts import Parts
from .scheduler import Scheduler
from .shape import Shape
from .source import FIRST, ByteSource, head_of
from .tokenizer import load

CONTEXT = 4096  # tokens, unless asked for others
SLICE_MS = 20.0  # for what is done between two answers


class LanguageModel(Dialogue):
    """data: of a whole GGUF file, which may be let go afterwards; context: tokens there is room for.

    caching: where keys and values of many conversations are; without it there is room for one. Raises GgufError and ModelError for a
    file that is no model, MemoryError where it does not fit.
    """

    def __init__(
        self,
        data: bytes | memoryview | np.ndarray,
        kernels: KernelRegistry,
        *,
        context: int | None = None,
        clock: Clock | None = None,
        progress: Callable[[int, int], None] | None = None,
        caching: Caching | None = None,
    ) -> None:
        file = memoryview(data)
        head = _head(file)
        self._describe(head)
        parts = Parts(head, self.shape, lambda tensor: file[tensor.offset : tensor.offset + tensor.size], kernels, progress)
        self._begin(parts, kernels, context, clock, caching)

    @classmethod
    async def load(
        cls,
        file: ByteSource,
        kernels: KernelRegistry,
        *,
        context: int | None = None,
        clock: Clock | None = None,
        progress: Callable[[int, int], None] | None = None,
        caching: Caching | None = None,
    ) -> "LanguageModel":
        """The same from a file that is read in slices, straight to where the kernels want the weights: it is never in memory whole."""
        self = cls.__new__(cls)
        head = await head_of(file)
        self._describe(head)
        self._begin(await Parts.load(head, self.shape, file, kernels, progress), kernels, context, clock, caching)
        return self

    def _describe(self, head: Head) -> None:
        self.metadata, self.shape = head.metadata, Shape.of(head.metadata)
        self.tokenizer = load(head.metadata)
        rows = head.tensors["token_embd.weight"].shape[0] if "token_embd.weight" in head.tensors else 0
        if rows and len(self.tokenizer.vocabulary) > rows:
            raise ModelError(f"the tokenizer has {len(self.tokenizer.vocabulary)} tokens and the model embeddings of {rows}")

    def _begin(self, parts: Parts, kernels: KernelRegistry, context: int | None, clock: Clock | None, caching: Caching | None) -> None:
        self.clock, self.kernels, room = clock or Clock(), kernels, min(context or CONTEXT, self.shape.context)
        self._shares = caching is not None
        if caching is None:
            cache, caching = own_cache(self.shape, kernels, room), Caching()
        else:
            cache = KvCache(form_of(self.shape), caching.pool_for(kernels, self.clock), kernels, caching.setting)
        cache.identity = _identity(self.shape, parts)
        self.runner = Runner(self.shape, parts, kernels, room, cache=cache)
        self.caches = SessionCaches(
            cache, caching.driver, caching.sessions, caching.policies, clock=self.clock, limit=caching.limit, chosen=caching.setting
        )
        self._own = self.runner.sequence
        self.runner.prepare()
        self._joined()

    def scheduler(self, together: int = 8) -> Scheduler:
        """Answers many conversations at once."""
        return Scheduler(self.runner, self.tokenizer, self.caches, together=together, clock=self.clock)

    def forget(self) -> None:
        """Lets go of all that it has of conversations. What it is saying ends."""
        self.turns.end()
        self._own_again()
        self.caches.clear()

    def rest(self) -> None:
        """Between two answers: what the last one needed may be evicted, and conversations are kept as the policy and the room say by now,
        as many of them as a slice of work takes.
        """
        if not self.runner.busy and self.turns.free:
            self.runner.cache.pool.unpin(self.runner.sequence.holding)
            self.caches.reconsider(SLICE_MS)

    def _own_again(self, adapter: str | None = None) -> None:
        self.runner.cache.release(self._own)
        self._own = self.runner.begin(adapter=adapter)
        self.runner.use(self._own)

    @property
    def adapters(self) -> Adapters:
        return self.runner.adapters

    def ready(self, name: str) -> bool:
        """Whether that adapter is in memory with all that is recorded: turning to it is a look-up."""
        return name in self.adapters.names and self.adapters.size(name) > 0 and self.runner.prepared(self.adapters.identity(name))

    def turn_away(self, name: str) -> None:
        """That adapter is spoken with no more. NotFoundError."""
        identity = self.adapters.identity(name)
        self.adapters.unload(name)
        if identity in (self.runner.sequence.identity, self._own.identity):
            self._own_again()

    def has_adapter(self, name: str) -> bool:
        return name in self.adapters.names

    def _take_up(self, ids: Sequence[int], session: str | None, adapter: str | None) -> None:
        identity = self.adapters.identity(adapter)
        if session is not None:
            self.runner.use(self.caches.open(session, ids, identity=identity).sequence)
            return
        if self._own.identity != identity:
            self._own_again(adapter)
        self.runner.use(self._own)

    def drafting(self, pool: Pool | None = None) -> Runner:
        """At work on a text of its own, with the same weights. What it keeps of the text gives way before conversations do."""
        parts, context = self.runner.parts, self.runner.context
        if pool is None:
            return Runner(self.shape, parts, self.kernels, context)
        return Assistant(self.shape, parts, self.kernels, context, pool, self.name)

    @property
    def shared(self) -> Pool | None:
        return self.runner.cache.pool if self._shares else None

    @property
    def name(self) -> str:
        return str(self.metadata.get("general.name") or self.metadata.get("general.architecture"))

    @property
    def nbytes(self) -> int:
        """Of weights and cache."""
        return self.runner.parts.nbytes + self.runner.cache.pool.used


async def open_model(
    source: str | Path,
    kernels: KernelRegistry,
    *,
    context: int | None = None,
    clock: Clock | None = None,
    progress: Callable[[int, int], None] | None = None,
    caching: Caching | None = None,
) -> LanguageModel:
    """The model of a GGUF file on disk, which is mapped, not read whole. Raises what LanguageModel does."""
    path = Path(source).expanduser()
    if not path.is_file():
        raise ModelError(f"there is no file {str(path)!r}")
    if not path.stat().st_size:
        raise ModelError(f"{str(path)!r} is empty")
    return LanguageModel(np.memmap(path, np.uint8, "r"), kernels, context=context, clock=clock, progress=progress, caching=caching)


def _identity(shape: Shape, parts: Parts) -> bytes:
    """Of the model: its shape, norms, biases and rotation whole, what its matrices are called, and how each begins."""
    digest = hashlib.blake2b(repr(shape).encode(), digest_size=16)
    for name, vector in {**parts.vectors, "frequencies": parts.frequencies}.items():
        digest.update(f"{name} {vector.shape} ".encode())
        digest.update(np.ascontiguousarray(vector).tobytes())
    for name, weights in parts.matrices.items():
        digest.update(f"{name} {weights.kind} {weights.shape} ".encode())
        digest.update(weights.w.reshape(-1)[:1024].tobytes())
    return digest.digest()


def _head(file: memoryview) -> Head:
    """Of a file that is there whole: only as much of it is looked at as its head takes."""
    size = min(FIRST, len(file))
    while True:
        try:
            return read_head(file[:size], len(file))
        except Incomplete as more:
            size = min(max(more.needed, 2 * size), len(file))
