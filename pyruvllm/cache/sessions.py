"""The caches of conversations, wherever they are.

    hot     newest tokens in float16, older ones quantised, in memory
    warm    all full pages quantised, in memory
    cold    rows of the database, as they were in memory
    gone    nowhere: computed anew from what was said

    caches = SessionCaches(cache, driver, sessions)
    resumed = caches.open("session id")          # live, or from its rows, or empty
    ...                                          # tokens are fed to resumed.sequence

A hot one becomes warm, and a warm one cold, when the pool needs the room (pool.py); from cold it comes back as it was, to the bit.
"""

import json
import logging
from collections.abc import Sequence as Many
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np

from ..config import Clock
from ..errors import CacheError, ConfigError, MismatchError, NotFoundError, PoolFullError
from ..kernels.registry import KernelRegistry
from ..memory.cache_reference import CacheQuantization, KvCacheRef
from ..memory.policy import PolicyStore
from ..memory.session import SessionIndex
from ..storage.driver import Driver
from .importance import Importance
from .layout import PAGE
from .pool import Pool
from .quantize import Setting, decide
from .two_tier import KvCache, Sequence

VERSION = 1  # of what is inside a page
SHOWN = 50  # saved ones in a report
COLD = 1 << 30  # bytes of rows, beyond which the oldest go

log = logging.getLogger("pyruvllm")


@dataclass
class Caching:
    """What a model keeps conversations in. pool: with what else draws on it, made by need with that budget; driver, sessions and
    policies: as ``SessionCaches`` has them; setting: how exactly keys and values are chosen to be kept; None leaves it to the policy.
    """

    pool: Pool | None = None
    budget: int = 256 << 20  # bytes
    driver: Driver | None = None
    sessions: SessionIndex | None = None
    policies: PolicyStore | None = None
    setting: Setting | None = None
    limit: int = COLD  # bytes of rows

    def pool_for(self, kernels: KernelRegistry, clock: Clock) -> Pool:
        if self.pool is None:
            self.pool = Pool(self.budget, kernels.empty, clock)
        return self.pool


@dataclass(frozen=True)
class Resumed:
    """tier: where it was: "hot", "warm", "cold" or "gone"; ms: how long it took."""

    sequence: Sequence
    tier: str
    ms: float


class SessionCaches:
    """driver: for the cold ones; without one, or where it cannot write, what the pool evicts is gone. sessions: whose ``kv_cache_ref``
    is kept up to date. policies: whose quantization policy decides how exactly each is kept, from what was ``chosen`` on. limit: bytes of
    rows.
    """

    def __init__(
        self,
        cache: KvCache,
        driver: Driver | None = None,
        sessions: SessionIndex | None = None,
        policies: PolicyStore | None = None,
        *,
        clock: Clock | None = None,
        limit: int = COLD,
        chosen: Setting | None = None,
    ) -> None:
        self.chosen = chosen
        self.cache, self.driver, self.sessions, self.policies, self.limit = cache, driver, sessions, policies, limit
        self.clock = clock or Clock()
        self.importance = Importance(sessions, self.clock)
        self.hits = {"hot": 0, "warm": 0, "cold": 0, "gone": 0}
        self._live: dict[str, Sequence] = {}
        self._restoring: str | None = None
        if sessions is not None:
            sessions.on_expired(self._expired)

    def find(self, id: str) -> Sequence | None:
        """The live one."""
        return self._live.get(id)

    def tier(self, id: str) -> str:
        sequence = self._live.get(id)
        if sequence is not None:
            return "hot" if len(sequence) - sequence.old_tokens >= PAGE else "warm"
        return "cold" if self._rows("SELECT 1 FROM kv_sessions WHERE session = ?", id) else "gone"

    def open(
        self,
        id: str,
        tokens: Many[int] = (),
        setting: Setting | None = None,
        *,
        priority: float | None = None,
        identity: bytes | None = None,
    ) -> Resumed:
        """The cache of a conversation, pinned for 30 s: the live one, else from its rows, else one with what is known of the beginning
        of ``tokens``. One of another model, adapter or version is refused, and gone. priority: how much it matters, 0 ... 1; None: as its
        session says (``importance``). PoolFullError, PersistError.
        """
        begun = self.clock.elapsed_ms()
        self.importance.give(id, priority)
        priority = self.importance.priority(id)
        identity = self.cache.identity if identity is None else identity
        tier = self.tier(id) if id in self._live else "cold"
        sequence = self._live.get(id)
        if sequence is not None and sequence.identity != identity:
            self.forget(id)
            sequence = None
        if sequence is None:
            sequence, tier = self._thawed(id, identity, priority), "cold"
        if sequence is None:
            setting = setting or self._decided(priority)
            sequence, tier = self.cache.open(tokens, setting, name=id, priority=priority, identity=identity), "gone"
        if id not in self._live:
            self._adopt(id, sequence)
        sequence.holding.priority = priority
        self.cache.pool.pin(sequence.holding)
        self.hits[tier] += 1
        return Resumed(sequence, tier, self.clock.elapsed_ms() - begun)

    def fork(self, id: str, new: str) -> Sequence:
        """Another conversation that goes on from where this one is. NotFoundError where it is not live, ConfigError for a name in use."""
        if new in self._live:
            raise ConfigError(f"there is a cache of {new!r} already")
        sequence = self._live.get(id)
        if sequence is None:
            raise NotFoundError(f"no live cache of {id!r}; open it first")
        other = self.cache.fork(sequence, name=new, priority=sequence.holding.priority)
        self._adopt(new, other)
        return other

    def demote(self, id: str) -> bool:
        """Hot to warm; False where it was not hot."""
        sequence = self._live.get(id)
        if sequence is None:
            return False
        did = self.cache.demote(sequence)
        self._refer(id, "warm")
        return did

    def report(self) -> dict[str, Any]:
        """For a person or a page, as JSON: the live ones, the last used first, by bytes in each tier; saved ones; where they came from.

        A page that several share counts with each of them, and once in ``pages``, which is what the pool has of them. ``cold`` has the
        last saved ones that are not live; one that does not ``fit`` was saved for another model, adapter or version.
        """
        live = sorted(self._live.items(), key=lambda item: -item[1].holding.order)
        rows = self._rows("SELECT session, size, length(tokens) / 4, saved_at, identity, version FROM kv_sessions ORDER BY saved_at DESC")
        cold = [row for row in rows if row[0] not in self._live]
        return {
            "hits": dict(self.hits),
            "saved": {"sessions": len(rows), "bytes": sum(row[1] for row in rows)},
            "pages": self.cache.store.report(),
            "page_tokens": PAGE,
            "live": [self._told(id, sequence) for id, sequence in live],
            "cold": [
                {"session": id, "bytes": size, "tokens": tokens, "saved_at": at, "fits": of == [self.cache.identity, VERSION]}
                for id, size, tokens, at, *of in cold[:SHOWN]
            ],
            "cold_sessions": len(cold),
            "cold_bytes": sum(row[1] for row in cold),
        }

    def _told(self, id: str, sequence: Sequence) -> dict[str, Any]:
        kinds = sequence.layout.kinds
        return {
            "session": id,
            "tier": self.tier(id),
            "tokens": len(sequence),
            "exact_tokens": len(sequence) - sequence.old_tokens,
            "exact_bytes": len(sequence.tail) * self.cache.plain.size,
            "exact_pages": len(sequence.tail),
            "old": sequence.setting.old,
            "old_tokens": sequence.old_tokens,
            "old_bytes": len(sequence.old) * sequence.layout.size,
            "old_pages": len(sequence.old),
            "old_layers": sum(kinds[layer] != "f16" for layer in self.cache.form.attention),  # that are quantised in old pages
            "layers": len(self.cache.form.attention),
            "state_bytes": sequence.state.nbytes,
            "bytes": sequence.nbytes,
        }

    def reconsider(self, ms: float | None = None) -> int:
        """Keeps every live one as exactly as the policy in force says by now; how many were changed. Nothing is computed anew.

        What has no room to be converted in stays as it is, as does what would be converted back once it takes more room. ms: it stops
        after so many, and goes on when it is called again.
        """
        changed, end = 0, None if ms is None else self.clock.elapsed_ms() + ms
        for id, sequence in list(self._live.items()):
            if end is not None and changed and self.clock.elapsed_ms() > end:
                break
            sequence.holding.priority, importance = self.importance.priority(id), self.importance.of(id, sequence.holding)
            setting = self._decided(importance)
            if setting is None or setting == sequence.setting or sequence.released:
                continue
            more = len(sequence.old) * (setting.layout(self.cache.form).size - sequence.layout.size)
            if more > 0 and self._decided(importance, more) != setting:
                continue
            try:
                self.cache.change(sequence, setting)
                changed += 1
            except CacheError as error:
                log.warning("the cache of %r stays as it is: %s", sequence.holding.name, error)
        return changed

    def _decided(self, importance: float, more: int = 0) -> Setting | None:
        """more: bytes that would be in use then."""
        if self.policies is None:
            return None
        pool, policy = self.cache.pool, self.policies.latest("quantization").parameters
        return decide(policy, importance=importance, pressure=(pool.used + more) / pool.budget, chosen=self.chosen)

    def freeze(self, id: str) -> None:
        """To cold. NotFoundError; what the database raises, and then it stays live."""
        if id not in self._live:
            raise NotFoundError(f"no live cache of {id!r}")
        self._persist(id)
        self._release(id)

    def _expired(self, id: str) -> None:
        """Of a conversation that was idle for too long: cold where there is a database, else gone. CacheError while in use."""
        sequence = self._live.get(id)
        if sequence is not None and self.cache.pool.pinned(sequence.holding):
            raise CacheError(f"the cache of {id!r} is in use")
        if sequence is not None and self.driver is not None and self.driver.writable:
            self._persist(id)
        self._release(id)

    def forget(self, id: str) -> None:
        """It is gone, wherever it was."""
        self._release(id)
        self.importance.forget(id)
        if self.driver is not None and self.driver.writable:
            self.driver.execute("DELETE FROM kv_sessions WHERE session = ?", (id,))
        self._refer(id, None)

    def clear(self) -> None:
        """All are gone, in memory and in the database: what was said in them is to be forgotten."""
        for id in list(self._live):
            self._release(id)
        self.cache.store.forget()
        if self.driver is not None and self.driver.writable:
            self.driver.execute("DELETE FROM kv_sessions")

    def note(self, id: str) -> None:
        """Writes where it is into its session's ``kv_cache_ref``."""
        self._refer(id, self.tier(id) if id in self._live else None)

    def _adopt(self, id: str, sequence: Sequence) -> None:
        holding = sequence.holding
        self._live[id] = sequence
        if self.driver is not None and self.driver.writable:
            holding.persist = lambda: self._persist(id)
        holding.release = lambda: self._release(id)
        holding.shrink = lambda: self._shrunk(sequence)

    def _shrunk(self, sequence: Sequence) -> bool:
        try:
            return self.cache.demote(sequence)
        except PoolFullError:
            return False  # no room to make it smaller in: it goes whole

    def _release(self, id: str) -> None:
        sequence = self._live.pop(id, None)
        if sequence is not None:
            self.cache.release(sequence)

    def _persist(self, id: str) -> None:
        """Writes what the rows do not have of it yet, in one transaction."""
        driver, sequence = self.driver, self._live[id]
        if driver is None:
            raise ConfigError(f"the cache of {id!r} cannot become cold: there is no database")
        pages = [("old", page) for page in sequence.old] + [("tail", page) for page in sequence.tail]
        full, total = len(sequence) // PAGE, -(-len(sequence) // PAGE)
        with driver.transaction():
            same = [sequence.identity, VERSION, _written(sequence.setting)]
            if self._rows("SELECT identity, version, setting FROM kv_sessions WHERE session = ?", id) != [tuple(same)]:
                driver.execute("DELETE FROM kv_sessions WHERE session = ?", (id,))
            there = dict(
                (ordinal, (tier, chain))
                for ordinal, tier, chain in self._rows("SELECT ordinal, tier, chain FROM kv_pages WHERE session = ?", id)
            )
            rows = []
            for ordinal, (tier, page) in enumerate(pages[:total]):
                chain = sequence.key(ordinal) if ordinal < full else None
                if chain is None or there.get(ordinal) != (tier, chain):
                    rows.append((id, ordinal, tier, chain, self.cache.store.view(page).tobytes()))
            driver.execute("DELETE FROM kv_pages WHERE session = ? AND ordinal >= ?", (id, total))
            driver.executemany("INSERT OR REPLACE INTO kv_pages (session, ordinal, tier, chain, content) VALUES (?, ?, ?, ?, ?)", rows)
            state = sequence.state if sequence.state_at == len(sequence) else np.zeros(0)
            values = (*same, self.clock.now_ms(), sequence.nbytes, np.asarray(sequence.tokens, "<i4").tobytes(), state.tobytes())
            driver.execute(
                """INSERT INTO kv_sessions (session, identity, version, setting, saved_at, size, tokens, state)
                VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (session) DO UPDATE SET
                saved_at = excluded.saved_at, size = excluded.size, tokens = excluded.tokens, state = excluded.state""",
                (id, *values),
            )
            self._trimmed(id)
            self._refer(id, "cold")

    def _trimmed(self, id: str) -> None:
        """The oldest rows go where there are too many."""
        assert self.driver is not None
        rows: Any = self.driver.query("SELECT session, size FROM kv_sessions ORDER BY saved_at DESC, session = ? DESC", (id,))
        total = 0
        for session, size in rows:
            total += size
            if total > self.limit and session not in (id, self._restoring):
                self.driver.execute("DELETE FROM kv_sessions WHERE session = ?", (session,))

    def _thawed(self, id: str, identity: bytes, priority: float) -> Sequence | None:
        """From its rows; None where there are none, or none that fit."""
        rows = self._rows("SELECT identity, version, setting, tokens, state FROM kv_sessions WHERE session = ?", id)
        if not rows:
            return None
        known, version, setting, tokens, state = rows[0]
        try:
            if (known, version) != (identity, VERSION):
                raise MismatchError(f"the cache of {id!r} was saved for another model, adapter or version")
            if len(tokens) % 4:
                raise MismatchError(f"the tokens of {id!r} are damaged")
            return self._restored(id, _read(setting), np.frombuffer(tokens, "<i4"), state, identity, priority)
        except MismatchError as error:
            log.warning("%s; it is computed anew", error)
            self.forget(id)
            return None

    def _restored(self, id: str, setting: Setting, tokens: np.ndarray, state: bytes, identity: bytes, priority: float) -> Sequence:
        cache = self.cache
        sequence = cache.open(setting=setting, name=id, priority=priority, identity=identity)
        cache.pool.pin(sequence.holding)
        self._restoring = id  # what gives way for it is saved, and its own rows are not what goes for that
        try:
            heads = self._rows("SELECT number, tier FROM kv_pages WHERE session = ? ORDER BY ordinal", id)
            pages = [(tier, partial(self._content, number)) for number, tier in heads]
            cache.restore(sequence, tokens, pages, state or sequence.state.tobytes())
            sequence.state_at = len(sequence) if state or not sequence.state.size else 0
        except BaseException:
            cache.release(sequence)
            raise
        finally:
            self._restoring = None
        return sequence

    def _content(self, number: int) -> bytes:
        return self._rows("SELECT content FROM kv_pages WHERE number = ?", number)[0][0]

    def _rows(self, sql: str, *values: Any) -> list[Any]:
        return [] if self.driver is None else self.driver.query(sql, values)

    def _refer(self, id: str, tier: str | None) -> None:
        if self.sessions is None or not self.sessions.memory.writable:
            return
        try:
            self.sessions.update(id, kv_cache_ref=None if tier is None else self._reference(id, tier))
        except NotFoundError:
            pass  # a conversation that nobody wrote down

    def _reference(self, id: str, tier: str) -> KvCacheRef:
        sequence = self._live[id]
        pages = len(sequence.old) + len(sequence.tail)
        quantization = CacheQuantization(
            tail_length=len(sequence) - sequence.old_tokens,
            tail_precision="f16",
            store_precision=sequence.setting.old,
            compression_ratio=pages * self.cache.plain.size / max(sequence.nbytes - sequence.state.nbytes, 1),
        )
        return KvCacheRef(tier, "kv_pages" if tier == "cold" else "memory", len(sequence), quantization, self.clock.now_ms())


def _written(setting: Setting) -> str:
    return json.dumps(asdict(setting), sort_keys=True)


def _read(text: str) -> Setting:
    """MismatchError for what this version does not know."""
    try:
        values = json.loads(text)
        return Setting(**{**values, "layers": values["layers"] and tuple(values["layers"])})
    except (TypeError, KeyError, ValueError) as error:
        raise MismatchError(f"a saved setting cannot be read: {error}") from None
