"""A collection of the memory as LangGraph's ``BaseStore`` (langgraph-checkpoint 4.x): JSON values under a namespace and a key.

    graph = builder.compile(store=RuvStore(llm.memory))      # where the memory was opened; graphs that are awaited
    with RuvStore.open("notes.db") as store: ...             # natively, with a memory of its own: any graph, from any thread

A value is indexed by what ``fields`` name in it ("$": all of it), as one vector; ``index`` of a put names others, or is False. ``ttl`` is
in minutes: what is over is not found any more, and ``sweep_ttl`` removes it. The puts of a batch are made after its reads, at once. In a
tab that follows another one, reading an item does not begin its ``ttl`` anew.

``llm.forget(user=...)`` does not know which label of a namespace is a user: ``memory.delete(collection="langgraph",
where={"namespace.1": "ann"})`` removes what has "ann" as its second label.
"""

from __future__ import annotations

import json
import operator
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from ..errors import ConfigError, FilterError
from ..memory.unified import UnifiedMemory
from ..types import Draft, Record
from .embedder import question
from .home import Home
from .lodger import Lodger

Namespace = tuple[str, ...]
MINUTE_MS = 60_000
STEP = re.compile(r"([^.\[\]]+)|\[(\*|-?\d+)\]")
ORDERED = {"$gt": operator.gt, "$gte": operator.ge, "$lt": operator.lt, "$lte": operator.le}
PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")  # a key that is a path of the filter language as it stands


@dataclass(frozen=True)
class PlainItem:
    """Stands in for LangGraph's ``Item`` and ``SearchItem`` where LangGraph is not installed."""

    namespace: Namespace
    key: str
    value: dict[str, Any]
    created_at: datetime
    updated_at: datetime
    score: float | None = None

    def dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class _Put:
    namespace: Namespace
    key: str
    value: dict[str, Any] | None
    index: Literal[False] | list[str] | None = None
    ttl: float | None = None


class RuvStore(Lodger):
    """What ``langgraph.store.base.BaseStore`` promises. Each method has an asynchronous twin, ``batch`` takes LangGraph's operations."""

    supports_ttl = True

    def __init__(
        self,
        memory: UnifiedMemory,
        collection: str = "langgraph",
        *,
        fields: Sequence[str] = ("$",),
        ttl: float | None = None,
        refresh_on_read: bool = True,
        home: Home | None = None,
    ):
        """Where the memory was opened: in that event loop. ``ttl``: of what is put without one, minutes; None: for ever."""
        self.memory, self.collection, self.fields, self.home = memory, collection, list(fields), home or Home()
        self.ttl_config = {"default_ttl": ttl, "refresh_on_read": refresh_on_read}
        loaded = sys.modules.get("langgraph.store.base")
        if loaded is not None:
            loaded.BaseStore.register(type(self))

    # One by one

    async def aget(self, namespace: Namespace, key: str, *, refresh_ttl: bool | None = None) -> Any:
        """The item there, or None."""
        return await self.home.reach(self._get(namespace, key, refresh_ttl))

    def get(self, namespace: Namespace, key: str, *, refresh_ttl: bool | None = None) -> Any:
        return self.home.wait(self._get(namespace, key, refresh_ttl))

    async def aput(self, namespace: Namespace, key: str, value: dict[str, Any], index: Any = None, *, ttl: Any = ...) -> None:
        """Durable on return. ConfigError for a namespace that is empty or has an empty label, a label with a dot, or "langgraph" first."""
        await self.home.reach(self._put([_Put(namespace, key, value, index, self._ttl(ttl))]))

    def put(self, namespace: Namespace, key: str, value: dict[str, Any], index: Any = None, *, ttl: Any = ...) -> None:
        self.home.wait(self._put([_Put(namespace, key, value, index, self._ttl(ttl))]))

    async def adelete(self, namespace: Namespace, key: str) -> None:
        """What is not there need not be removed."""
        await self.home.reach(self._put([_Put(namespace, key, None)]))

    def delete(self, namespace: Namespace, key: str) -> None:
        self.home.wait(self._put([_Put(namespace, key, None)]))

    async def asearch(
        self,
        namespace_prefix: Namespace,
        /,
        *,
        query: str | None = None,
        filter: Mapping[str, Any] | None = None,
        limit: int = 10,
        offset: int = 0,
        refresh_ttl: bool | None = None,
    ) -> list[Any]:
        """Items under a prefix: nearest to the query first, else the latest first. Those without a vector come last, without a score."""
        return await self.home.reach(self._search(namespace_prefix, query, filter, limit, offset, refresh_ttl))

    def search(
        self,
        namespace_prefix: Namespace,
        /,
        *,
        query: str | None = None,
        filter: Mapping[str, Any] | None = None,
        limit: int = 10,
        offset: int = 0,
        refresh_ttl: bool | None = None,
    ) -> list[Any]:
        return self.home.wait(self._search(namespace_prefix, query, filter, limit, offset, refresh_ttl))

    async def alist_namespaces(
        self,
        *,
        prefix: Sequence[str] | None = None,
        suffix: Sequence[str] | None = None,
        max_depth: int | None = None,
        limit: int = 100,
        offset: int = 0,
    ) -> list[Namespace]:
        """Namespaces that have items, sorted; "*" in a prefix or suffix stands for any label."""
        return await self.home.reach(self._namespaces(_matchers(prefix, suffix), max_depth, limit, offset))

    def list_namespaces(
        self,
        *,
        prefix: Sequence[str] | None = None,
        suffix: Sequence[str] | None = None,
        max_depth: int | None = None,
        limit: int = 100,
        offset: int = 0,
    ) -> list[Namespace]:
        return self.home.wait(self._namespaces(_matchers(prefix, suffix), max_depth, limit, offset))

    async def asweep_ttl(self) -> int:
        """Removes what is over; returns how many."""
        return await self.home.reach(self._sweep())

    def sweep_ttl(self) -> int:
        return self.home.wait(self._sweep())

    # In batches

    async def abatch(self, ops: Iterable[Any]) -> list[Any]:
        """Runs LangGraph's ``GetOp``, ``SearchOp``, ``PutOp`` and ``ListNamespacesOp``; a result for each, None for puts."""
        return await self.home.reach(self._batch(list(ops)))

    def batch(self, ops: Iterable[Any]) -> list[Any]:
        return self.home.wait(self._batch(list(ops)))

    async def _batch(self, ops: list[Any]) -> list[Any]:
        results, puts = [], dict[tuple[Namespace, str], _Put]()
        for op in ops:
            result = None
            if hasattr(op, "value"):
                puts[tuple(op.namespace), op.key] = _Put(op.namespace, op.key, op.value, op.index, op.ttl)
            elif hasattr(op, "namespace_prefix"):
                result = await self._search(op.namespace_prefix, op.query, op.filter, op.limit, op.offset, op.refresh_ttl)
            elif hasattr(op, "match_conditions"):
                conditions = [(condition.match_type, tuple(condition.path)) for condition in op.match_conditions or ()]
                result = await self._namespaces(conditions, op.max_depth, op.limit, op.offset)
            elif hasattr(op, "key"):
                result = await self._get(op.namespace, op.key, op.refresh_ttl)
            else:
                raise ConfigError(f"{op!r} is no operation of a store")
            results.append(result)
        await self._put(list(puts.values()))
        return results

    # What they come to

    async def _get(self, namespace: Namespace, key: str, refresh: bool | None) -> Any:
        found = self._select({"id": self._id(namespace, key)})
        self._refresh(found, refresh)
        return _item(found[0]) if found else None

    def _select(self, where: Mapping[str, Any]) -> list[Record]:
        """What is not over yet, the latest first."""
        return self.memory.select(self.collection, {"$and": [where, self._present()]}, order="updated", descending=True)

    def _present(self) -> dict[str, Any]:
        return {"$or": [{"expires_at": None}, {"expires_at": {"$gt": self.memory.clock.now_ms()}}]}

    async def _put(self, puts: Sequence[_Put]) -> None:
        for put in puts:
            _check(put.namespace, put.key)
        ids = [self._id(put.namespace, put.key) for put in puts]
        texts = [self._text(put) for put in puts]
        indexed = [place for place, text in enumerate(texts) if text.strip()]
        made = await self.memory.embedder.embed([texts[place] for place in indexed]) if indexed else []
        vectors = dict(zip(indexed, made, strict=True))
        there = set(self.memory.records.taken(ids))
        drafts = [
            Draft(text, id, self._kept(put, self.memory.get(id) if id in there else None), vectors.get(place))
            for place, (id, put, text) in enumerate(zip(ids, puts, texts, strict=True))
            if put.value is not None
        ]
        gone = [id for id, put in zip(ids, puts, strict=True) if put.value is None]
        if drafts or gone:
            await self.memory.writes.replace(self.collection, drafts, gone)
        elif self.memory.writable:
            await self.memory.flush()

    def _kept(self, put: _Put, before: Record | None) -> dict[str, Any]:
        now = self.memory.clock.now_ms()
        kept = {
            "namespace": {str(place): label for place, label in enumerate(put.namespace)},  # so that a filter can ask for a label
            "key": put.key,
            "value": put.value,
            "created": before.metadata["created"] if before is not None else now,
            "updated": now,
        }
        return kept if put.ttl is None else {**kept, "ttl": put.ttl, "expires_at": now + round(put.ttl * MINUTE_MS)}

    def _text(self, put: _Put) -> str:
        """What of the value is indexed."""
        if put.value is None or put.index is False:
            return ""
        found = [part for path in put.index or self.fields for part in _at(put.value, path)]
        return "\n".join(part if isinstance(part, str) else json.dumps(part, ensure_ascii=False) for part in found)

    def _id(self, namespace: Namespace, key: str) -> str:
        return json.dumps([self.collection, *namespace, key], ensure_ascii=False)

    def _ttl(self, ttl: Any) -> float | None:
        given = isinstance(ttl, (int, float)) or ttl is None
        return ttl if given else self.ttl_config["default_ttl"]

    def _refresh(self, found: Sequence[Record], refresh: bool | None) -> None:
        if not self.memory.writable or not (self.ttl_config["refresh_on_read"] if refresh is None else refresh):
            return
        now = self.memory.clock.now_ms()
        for record in found:
            if "ttl" in record.metadata:
                expires_at = now + round(record.metadata["ttl"] * MINUTE_MS)
                self.memory.revise(record.id, metadata={**record.metadata, "expires_at": expires_at})

    async def _search(
        self, prefix: Namespace, query: str | None, filter: Mapping[str, Any] | None, limit: int, offset: int, refresh: bool | None
    ) -> list[Any]:
        where: dict[str, Any] = {f"namespace.{place}": label for place, label in enumerate(prefix)}
        where |= {f"value.{key}": value for key, value in (filter or {}).items() if PLAIN.fullmatch(key) and isinstance(value, str)}
        found = [record for record in self._select(where) if _matches(record.metadata["value"], filter or {})]
        scores: dict[str, float] = {}
        if query and found and offset + limit > 0:
            vector = await question(self.memory.embedder, query)
            among = {"id": {"$in": [record.id for record in found]}}
            hits = self.memory.search_with(None, vector, len(found), where=among, collections=self.collection, mode="vector")
            scores = {hit.id: hit.score for hit in hits}
            found.sort(key=lambda record: -scores.get(record.id, -2.0))  # what has no vector comes last
        found = found[max(0, offset) : max(0, offset) + max(0, limit)]
        self._refresh(found, refresh)
        return [_item(record, scores.get(record.id), searched=True) for record in found]

    async def _namespaces(
        self, conditions: Sequence[tuple[str, Namespace]], max_depth: int | None, limit: int, offset: int
    ) -> list[Namespace]:
        sql = """SELECT DISTINCT json_extract(metadata, '$.namespace') FROM records WHERE collection = ?
            AND coalesce(json_extract(metadata, '$.expires_at'), ?) >= ?"""
        now = self.memory.clock.now_ms() + 1
        rows = self.memory.driver.query(sql, [self.collection, now, now])
        spaces = [_namespace(json.loads(str(text))) for (text,) in rows]
        found = [space for space in spaces if all(_of(space, kind, path) for kind, path in conditions)]
        return sorted({space[:max_depth] for space in found})[offset : offset + limit]

    async def _sweep(self) -> int:
        return await self.memory.delete(collection=self.collection, where={"expires_at": {"$lte": self.memory.clock.now_ms()}})


def _check(namespace: Namespace, key: str) -> None:
    labels = isinstance(namespace, (tuple, list)) and all(isinstance(label, str) and label and "." not in label for label in namespace)
    if not labels or not namespace or namespace[0] == "langgraph":
        raise ConfigError(f"a namespace is a tuple of labels, none empty or with a dot, the first not 'langgraph'; not {namespace!r}")
    if not isinstance(key, str):
        raise ConfigError(f"a key is a string, not {key!r}")


def _namespace(labels: Mapping[str, str]) -> Namespace:
    return tuple(labels[str(place)] for place in range(len(labels)))


def _matchers(prefix: Sequence[str] | None, suffix: Sequence[str] | None) -> list[tuple[str, Namespace]]:
    return [(kind, tuple(path)) for kind, path in (("prefix", prefix), ("suffix", suffix)) if path]


def _of(namespace: Namespace, kind: str, path: Namespace) -> bool:
    part = namespace[: len(path)] if kind == "prefix" else namespace[-len(path) :]
    return len(part) == len(path) and all(wanted in ("*", label) for wanted, label in zip(path, part, strict=True))


def _matches(value: Any, wanted: Any) -> bool:
    """LangGraph's filters: equality, through dicts and lists, and operators."""
    if isinstance(wanted, Mapping):
        if any(isinstance(key, str) and key.startswith("$") for key in wanted):
            return all(_holds(value, sign, operand) for sign, operand in wanted.items())
        return isinstance(value, Mapping) and all(_matches(value.get(key), each) for key, each in wanted.items())
    if isinstance(wanted, (list, tuple)):
        same = isinstance(value, (list, tuple)) and len(value) == len(wanted)
        return same and all(_matches(one, other) for one, other in zip(value, wanted, strict=True))
    return value == wanted


def _holds(value: Any, sign: str, operand: Any) -> bool:
    if sign in ("$eq", "$ne"):
        return (value == operand) == (sign == "$eq")
    if sign not in ORDERED:
        raise FilterError(f"{sign!r} is no operator; $eq, $ne, {', '.join(ORDERED)} are")
    try:
        return ORDERED[sign](float(value), float(operand))
    except (TypeError, ValueError):  # what is no number has no place in their order
        return False


def _at(value: Any, path: str) -> list[Any]:
    """What is in a value at a path: "a.b", "a[0]", "a[*].b"; "$" is all of it."""
    found = [value]
    for name, place in [] if path == "$" else STEP.findall(path):
        if name:
            found = [each[name] for each in found if isinstance(each, Mapping) and name in each]
        elif place == "*":
            found = [part for each in found for part in (each.values() if isinstance(each, Mapping) else each)]
        else:
            found = [each[int(place)] for each in found if isinstance(each, list) and -len(each) <= int(place) < len(each)]
        found = [each for each in found if each is not None]
    return found


def _item(record: Record, score: float | None = None, *, searched: bool = False) -> Any:
    kept = record.metadata
    created_at, updated_at = (datetime.fromtimestamp(kept[name] / 1000, UTC) for name in ("created", "updated"))
    values = {"namespace": _namespace(kept["namespace"]), "key": kept["key"], "value": kept["value"]}
    values |= {"created_at": created_at, "updated_at": updated_at}
    try:
        from langgraph.store.base import Item, SearchItem
    except ImportError:
        return PlainItem(**values, score=score)
    return SearchItem(**values, score=score) if searched else Item(**values)
