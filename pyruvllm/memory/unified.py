"""The unified memory: collections of records with their vectors, words and edges, written in one transaction and searched as one.

The tables are the truth. The indexes in memory are made of them at open, follow each commit, and never run ahead of one.
"""

import asyncio
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from typing import Any

import numpy as np

from hnsw_pure.accelerate import Accelerator

from ..config import Config
from ..embed.embedder import Embedder
from ..errors import ConfigError, NotFoundError, RuvLLMError
from ..storage import migrate
from ..storage.driver import Driver
from ..types import Record
from . import following, upkeep
from .collection import Change, Collection
from .crossing import Crossing
from .graph import Graph
from .index import VectorIndex
from .journal import Journal
from .likeness import RULES, Likeness
from .operations import Operations
from .records import Records
from .search import Searchable
from .segments import SavedIndexes
from .waiting import Waiting
from .writes import RecordWrites
from .writing import Progress, Writable

log = logging.getLogger("pyruvllm.memory")


class UnifiedMemory(Writable, Searchable):
    """Open it with ``await UnifiedMemory.open(driver, embedder)``. What is written is durable after the next ``flush``."""

    def __init__(self, driver: Driver, embedder: Embedder, config: Config, accelerator: Accelerator | None = None):
        self.driver, self.embedder, self.config, self.clock = driver, embedder, config, config.clock
        self.accelerator = accelerator  # of the vector indexes
        self.records = Records(driver)
        self.graph = Graph(driver, config.clock, self.transaction)
        self.likeness = Likeness(self)
        self.saved = SavedIndexes(driver)
        self.crossing = Crossing(config.index)
        self._collections: dict[str, Collection] = {}
        self._pending: list[Change] = []  # of the open transaction
        self._closing: list[Callable[[], None]] = []
        self._watches: dict[str, list[Callable[[Set[int] | None], None]]] = {}
        self._depth = 0
        self._growth: asyncio.Task[None] | None = None
        self.waiting = Waiting()  # for a flush
        self.before_flush: list[Callable[[], object]] = []  # each writes what is worth keeping but no flush of its own
        self.journal = Journal(driver, config.clock)
        self.operations = Operations(driver, config.clock, self.flush)
        self.forgotten: list[Callable[[], None]] = []  # when something was, here or in another tab: whoever holds what was said lets go
        self.told: list[Callable[[str, str], None]] = []  # what became of this tab among others, and why; see Driver.follow
        self.writes = RecordWrites(self)

    @classmethod
    async def open(
        cls,
        driver: Driver,
        embedder: Embedder,
        config: Config | None = None,
        *,
        accelerator: Accelerator | None = None,
        progress: Progress | None = None,
    ) -> "UnifiedMemory":
        """Migrates the database and loads the indexes; ``progress`` counts records. Raises NewerError and CorruptError."""
        memory = cls(driver, embedder, config or Config(), accelerator)
        migrate(driver)
        await memory.reload(progress=progress)
        return memory

    def join(self) -> None:
        """From now on this memory and those of other tabs do each other's work; to be called when all operations are there."""

        async def served(id: str, request: str) -> str:
            answer = await self.operations.perform(id, request)
            for callback in self.told:
                callback("refreshed", "")
            return answer

        self.driver.serve(served)
        self.driver.follow(lambda what, why: following.told(self, what, why))

    async def reload(self, *, progress: Progress | None = None) -> None:
        """Makes the indexes anew from the tables; ``progress`` counts records."""
        await self._stop_growth()
        self.journal.mark()
        self.graph.forget_adjacency()
        self.distrust()
        rows = self.driver.query("SELECT name, space, dimension, codec FROM collections ORDER BY name")
        counts = self.records.counts()
        done, total = 0, sum(counts.values())
        self._collections = {}
        for row in rows:
            name = str(row[0])
            self._collections[name] = upkeep.load(self, *row)  # type: ignore[arg-type]
            done += counts.get(name, 0)
            if progress is not None:
                progress(done, total)
            await asyncio.sleep(0)
        self.start_upkeep()

    def reload_collection(self, name: str) -> None:
        """The same for one collection."""
        rows = self.driver.query("SELECT name, space, dimension, codec FROM collections WHERE name = ?", [name])
        self._collections.pop(name, None)
        if rows:
            self._collections[name] = upkeep.load(self, *rows[0])  # type: ignore[arg-type]

    @property
    def writable(self) -> bool:
        return self.driver.writable

    @property
    def busy(self) -> bool:
        """Whether a transaction is open."""
        return self._depth > 0

    def collections(self) -> list[Collection]:
        """Those with records now or once, by name."""
        return [self._collections[name] for name in sorted(self._collections)]

    def collection(self, name: str) -> Collection:
        """The collection of that name; there from its first record on."""
        if not isinstance(name, str) or not name:
            raise ConfigError(f"a collection has a name, not {name!r}")
        if name not in self._collections:
            self._collections[name] = self.new_collection(name, None, self.embedder.space.dimension)
        return self._collections[name]

    def new_collection(self, name: str, space: str | None, dimension: int, codec: str | None = None) -> Collection:
        """An empty one that this memory does not have yet."""
        index = VectorIndex(
            dimension,
            self.config.index,
            self.clock,
            codec=codec or self.config.index.codec,
            originals=lambda numbers: self.records.originals(numbers, dimension),
            crossing=self.crossing,
            accelerator=self.accelerator,
        )
        return Collection(name, space, dimension, index)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing, in the tables and in the indexes. Nests. Nothing may be awaited inside; a search inside sees no new records."""
        mark, edges, outermost = len(self._pending), len(self.graph.changes), self._depth == 0
        self._depth += 1
        try:
            with self.driver.transaction():
                yield
                if outermost:
                    self.saved.note(change for change in self._pending if self.collection(change.collection).index.kind == "hnsw")
                    self.journal.note(self._pending)
        except BaseException:
            self._tell(self._pending[mark:])
            del self._pending[mark:]
            self.graph.took_back(edges)
            raise
        finally:
            self._depth -= 1
        if outermost:
            changes, self._pending = self._pending, []
            self.graph.applied()
            self._apply(changes)
            self._tell(changes)

    def watch(self, collection: str, changed: Callable[[Set[int] | None], None]) -> None:
        """Calls back after each transaction that wrote to a collection, committed or failed: what was read of it may not be so.

        With the numbers of the records in question; None: any of them.
        """
        self._watches.setdefault(collection, []).append(changed)

    def distrust(self) -> None:
        """Calls back all who watch: the tables may say something else than a moment ago."""
        self.likeness.behind.update(RULES)
        for changed in (each for watches in self._watches.values() for each in watches):
            changed(None)

    def on_close(self, stop: Callable[[], None]) -> None:
        """Calls back before the database is given back."""
        self._closing.append(stop)

    def _tell(self, changes: Sequence[Change]) -> None:
        for name in dict.fromkeys(change.collection for change in changes):
            for changed in self._watches.get(name, ()):
                changed({change.number for change in changes if change.collection == name})

    def _apply(self, changes: Sequence[Change]) -> None:
        for name in dict.fromkeys(change.collection for change in changes):
            collection = self.collection(name)
            collection.space = collection.space or self.recorded_space(name)
            self.likeness.note(name)
            try:
                collection.apply(change for change in changes if change.collection == name)
            except Exception:  # noqa: BLE001 the rows are committed, whatever became of the index
                log.exception("the index of %r could not take in what was written: it is made anew from the rows", name)
                self.reload_collection(name)
        self.start_upkeep()

    def get(self, id: str) -> Record:
        """NotFoundError."""
        return self.records.get(id)[1]

    def vector(self, id: str) -> np.ndarray:
        """(768,) float32. NotFoundError, also for a record without a vector."""
        vector = self.records.vector_of(self.records.places([id])[0][0])
        if vector is None:
            raise NotFoundError(f"the record {id!r} has no vector")
        return vector

    def select(
        self,
        collection: str,
        where: Mapping[str, Any] | None = None,
        *,
        order: str = "created_at",
        descending: bool = False,
        limit: int | None = None,
        offset: int = 0,
    ) -> list[Record]:
        """Records of a collection that a filter holds for, sorted by a column or a path into the metadata. FilterError."""
        return self.records.select(collection, where, order, descending, limit, offset)

    def unindexed(self) -> frozenset[int]:
        """Numbers of records that an open transaction deleted: the indexes have them until it is committed."""
        return frozenset(change.number for change in self._pending if change.gone)

    def count(self, collection: str, where: Mapping[str, Any] | None = None) -> int:
        """FilterError."""
        return self.records.count(collection, where)

    async def reembed(self, collection: str, progress: Progress | None = None) -> int:
        """Makes the vectors of a collection anew from its texts, in the embedder's space; see ``upkeep.reembed``."""
        return await upkeep.reembed(self, collection, progress)

    async def recode(self, collection: str, codec: str) -> None:
        """Sets how the graph of a collection keeps vectors: "float32", "int8", "bit1", or "auto". Durable on return.

        A graph of another codec is built from the rows behind what goes on (``grown`` waits for it); the present one answers meanwhile.
        Raises ConfigError, NotFoundError.
        """
        await upkeep.recode(self, collection, codec)

    def start_upkeep(self) -> None:
        """Lets indexes grow and edges between what is alike be laid behind what goes on, where an event loop runs."""
        running = self._growth is not None and not self._growth.done()
        if running or self.driver.role == "reader" or not upkeep.wanted(self):
            return
        try:
            self._growth = asyncio.get_running_loop().create_task(upkeep.tend(self))
        except RuntimeError:  # none runs: the next open or write that finds one starts it
            self._growth = None

    async def _stop_growth(self) -> None:
        if self._growth is not None and not self._growth.done():
            self._growth.cancel()
            await asyncio.gather(self._growth, return_exceptions=True)
        self._growth = None

    async def grown(self) -> None:
        """Returns when no index is on its way to HNSW and no edge waits to be laid. A failure of an index shows here."""
        if self._growth is not None:
            await self._growth

    async def flush(self) -> None:
        """Returns when everything written before the call survives a crash. QuotaError, FencedError."""
        self._write_late()
        with self.waiting.somebody():
            await self.driver.flush()

    async def rest(self) -> None:
        """Ends what goes on behind requests: of a memory whose database is closed, or becomes another one's."""
        for stop in self._closing:
            stop()
        await self._stop_growth()

    async def close(self) -> None:
        """Flushes and gives the database back. Safe to call twice."""
        await self.rest()
        try:
            upkeep.save_all(self)
            self._write_late()
            self.before_flush.clear()
        finally:
            await self.driver.close()

    def _write_late(self) -> None:
        for write in self.before_flush:
            try:
                write()
            except RuvLLMError as error:  # the flush is about something else
                log.warning("what is saved by the way was not: %s", error)

    def stats(self) -> dict[str, Any]:
        """What is there: records and index of each collection, edges, and the database's size."""
        counts = self.records.counts()
        return {
            "database_bytes": self.driver.size(),
            "durable_ms": self.driver.durable_ms,
            "space": self.embedder.space.key,
            "edges": self.graph.count(),
            "collections": {name: {"records": count, **self.collection(name).stats()} for name, count in counts.items()},
        }
