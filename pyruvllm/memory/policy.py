"""Policies: what was learned, or stated, about how to treat a request (ADR-002, role A).

A policy is a record of the collection "policies" with a typed side row. Policies are added, not edited: the newest of a type rules,
the older ones are its history, counted by their version. What is in force before anything was learned is bundled with the package and
marked so. What is in force is read once and then held for a while; over a bound those used longest ago go.
"""

import json
from collections import OrderedDict
from collections.abc import Mapping, Set
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ..errors import ConfigError, NotFoundError
from ..types import Draft
from .columns import checked_vector, from_blob, to_blob, to_json
from .parameters import TYPED, EwcPolicy, Fallback, KernelPolicy, PatternPolicy, Policy, QuantizationPolicy, RouterPolicy, between, one_of

if TYPE_CHECKING:
    from .unified import UnifiedMemory

COLLECTION = "policies"
SOURCES = ("instant_loop", "background_loop", "deep_loop", "federated", "bundled")
TOUCH_MS = 60_000  # a policy that is read on every request is not written on every request
HELD = 1024  # policies that searches found lately are held ready, some 4 MB

SELECT = """SELECT p.number, r.id, p.policy_type, p.parameters, p.confidence, p.fisher_diagonal, p.learned_at, p.last_accessed, p.source,
    p.version, v.embedding FROM policies AS p JOIN records AS r ON r.number = p.number LEFT JOIN vectors AS v ON v.number = p.number"""
IN_FORCE = "WHERE p.policy_type = ? ORDER BY p.source = 'bundled', p.learned_at DESC, p.number DESC LIMIT 1"


@dataclass(frozen=True, eq=False)
class PolicyEntry:
    """One policy. Without an id, and with times of 0, it gets them when it is put. Times are UTC milliseconds."""

    policy_type: str  # "quantization", "router", "ewc", "pattern", "kernel"
    parameters: Mapping[str, Any]  # JSON
    source: str  # one of SOURCES
    confidence: float = 0.0  # 0 ... 1, from learning
    embedding: np.ndarray | None = None  # (768,) float32, unit length: the kind of request it is about
    fisher_diagonal: np.ndarray | None = None  # (parameters,) float32, of EWC policies
    id: str = ""
    created_at: int = 0
    last_accessed: int = 0
    version: int = 0  # 1 for the first of its type; 0: given when it is put

    def __post_init__(self) -> None:
        if not isinstance(self.policy_type, str) or not self.policy_type.isidentifier():
            raise ConfigError(f"policy_type is a word such as 'router', not {self.policy_type!r}")
        one_of("source", self.source, SOURCES)
        between("confidence", self.confidence, 0, 1)
        if not isinstance(self.parameters, Mapping):
            raise ConfigError(f"parameters are a dict, not {self.parameters!r}")
        object.__setattr__(self, "embedding", checked_vector(self.embedding, "embedding"))
        if self.fisher_diagonal is not None:
            fisher = np.asarray(self.fisher_diagonal, dtype=np.float32)
            if fisher.ndim != 1 or not (np.isfinite(fisher).all() and (fisher >= 0).all()):
                raise ConfigError(f"fisher_diagonal is a vector of finite numbers of 0 or more, not one of shape {fisher.shape}")
            object.__setattr__(self, "fisher_diagonal", fisher)
        if self.policy_type in TYPED:
            typed = self.typed()
            if isinstance(typed, EwcPolicy) and typed.weights is not None:
                self._check_fisher(len(typed.weights))

    def _check_fisher(self, weights: int) -> None:
        values = 0 if self.fisher_diagonal is None else len(self.fisher_diagonal)
        if values != weights:
            raise ConfigError(f"an ewc policy of {weights} weights has as many values in its fisher_diagonal, not {values}")

    def typed(self) -> Policy:
        """The parameters as what they are. ConfigError for a type whose parameters are free."""
        if self.policy_type not in TYPED:
            raise ConfigError(f"{self.policy_type!r} has no parameters of a kind; {', '.join(TYPED)} have")
        return TYPED[self.policy_type].of(self.parameters)  # type: ignore[attr-defined]


DEFAULTS: tuple[tuple[str, Policy], ...] = (
    ("router", RouterPolicy()),
    ("quantization", QuantizationPolicy()),
    ("ewc", EwcPolicy()),
    ("pattern", PatternPolicy()),
    ("kernel", KernelPolicy(pack="", engine="")),  # of no pack in no engine: nothing was measured yet
)
BUNDLED = tuple(
    PolicyEntry(name, json.loads(to_json(asdict(parameters), name)), "bundled", id=f"b0000000-0000-4000-8000-00000000000{number}")
    for number, (name, parameters) in enumerate(DEFAULTS, 1)
)


class PolicyStore:
    """Opening it writes the bundled policies into a memory that does not have them; a read-only one answers with them all the same."""

    texts: ClassVar[dict[str, str]] = {
        "router": "Router policy: {model}, {context_size} tokens of context, temperature {temperature}, top-p {top_p}",
        "quantization": "Quantization policy: {precision} for layers {layer_range} behind {tail_length} tokens of float16",
        "ewc": "EWC policy: lambda {ewc_lambda}, {samples} samples of {task}",
        "pattern": "Pattern policy: one pattern from {similarity}, {capacity} patterns",
    }

    def __init__(self, memory: "UnifiedMemory"):
        self.memory, self.config = memory, memory.config.policy
        self._in_force: dict[str, tuple[int, PolicyEntry]] = {}  # by type, with the time from which it is read again
        self._numbers: dict[str, np.ndarray] = {}  # of each type, (n,) int64 ascending
        self._found: OrderedDict[int, PolicyEntry] = OrderedDict()  # by number, those used last at its end
        self._found_until = 0
        self._used: dict[int, int] = {}  # when policies were used, by number, as far as the tables do not say so yet
        memory.watch(COLLECTION, self._changed)
        memory.before_flush.append(self._note_uses)
        if memory.writable:
            for entry in BUNDLED:
                if not self._rows("r.id = ?", entry.id):
                    self.put(entry)

    def put(self, entry: PolicyEntry) -> PolicyEntry:
        """Adds a policy and returns it with its id and times. DuplicateError for an id that is taken. Durable with the next flush."""
        memory, now = self.memory, self.memory.clock.now_ms()
        entry = replace(
            entry,
            id=entry.id or memory.clock.new_id(),
            created_at=entry.created_at or now,
            last_accessed=entry.last_accessed or now,
            version=entry.version or self._next_version(entry.policy_type),
        )
        parameters = to_json(entry.parameters, "parameters")
        metadata = {"policy_type": entry.policy_type, "source": entry.source, "confidence": float(entry.confidence)}
        with memory.transaction():
            memory.put(COLLECTION, [Draft(self._text(entry), entry.id, metadata, entry.embedding)])
            memory.driver.execute(
                """INSERT INTO policies
                (number, policy_type, confidence, source, learned_at, last_accessed, parameters, fisher_diagonal, version)
                SELECT number, ?, ?, ?, ?, ?, ?, ?, ? FROM records WHERE id = ?""",
                (
                    *(entry.policy_type, float(entry.confidence), entry.source, entry.created_at, entry.last_accessed),
                    *(parameters, to_blob(entry.fisher_diagonal, "<f4"), entry.version, entry.id),
                ),
            )
            self._make_room()
        return entry

    def restore(self, id: str) -> PolicyEntry:
        """Puts an older policy in force again, as a new version. NotFoundError."""
        old = self.get(id)
        return self.put(replace(old, id="", created_at=0, last_accessed=0, version=0))

    def _changed(self, numbers: Set[int] | None) -> None:
        self.invalidate()
        if numbers is None:  # they may be another memory's
            self._used.clear()

    def invalidate(self, policy_type: str | None = None) -> None:
        """Lets what is in force be read again, of one type or of all. A write here does so; call it after one elsewhere."""
        self._found.clear()
        for held in (self._in_force, self._numbers):
            held.pop(policy_type, None) if policy_type is not None else held.clear()

    def _next_version(self, policy_type: str) -> int:
        rows: Any = self.memory.driver.query("SELECT max(version) FROM policies WHERE policy_type = ?", [policy_type])
        return (rows[0][0] or 0) + 1

    def _make_room(self) -> None:
        """Removes those used longest ago, over the capacity; of each type the one in force and the bundled one stay."""
        driver = self.memory.driver
        over: Any = driver.query("SELECT count(*) FROM policies")[0][0]
        if over <= self.config.capacity:
            return
        self._note_uses()
        types = driver.query("SELECT DISTINCT policy_type FROM policies")
        kept = [row[0] for (name,) in types for row in driver.query(f"SELECT number FROM policies AS p {IN_FORCE}", [name])]
        rows = driver.query(
            """SELECT r.id FROM policies AS p JOIN records AS r ON r.number = p.number
            WHERE p.source <> 'bundled' AND p.number NOT IN (SELECT value FROM json_each(?)) ORDER BY p.last_accessed, p.number LIMIT ?""",
            [json.dumps(kept), over - self.config.capacity],
        )
        self.memory.remove([str(id) for (id,) in rows])

    def get(self, id: str) -> PolicyEntry:
        """NotFoundError."""
        rows = self._rows("r.id = ?", id)
        if rows:
            return self._touched(rows[0][0], self._entry(rows[0]))
        for entry in BUNDLED:
            if entry.id == id:
                return entry
        raise NotFoundError(f"no policy {id!r}")

    def latest(self, policy_type: str) -> PolicyEntry:
        """The one in force: the newest of its type; a bundled one only where nothing was learned. NotFoundError.

        Held for ``PolicyConfig.ttl_ms``, or until something is written to the policies here.
        """
        now = self.memory.clock.now_ms()
        until, held = self._in_force.get(policy_type, (0, None))
        busy = self.memory.busy  # what is read inside a transaction may be taken back
        if held is None or now >= until or busy:
            held = self._read(policy_type)
            if not busy:
                self._in_force[policy_type] = now + self.config.ttl_ms, held
        return held

    def _read(self, policy_type: str) -> PolicyEntry:
        rows = self.memory.driver.query(f"{SELECT} {IN_FORCE}", [policy_type])
        if rows:
            return self._touched(rows[0][0], self._entry(rows[0]))
        for entry in BUNDLED:
            if entry.policy_type == policy_type:
                return entry
        raise NotFoundError(f"no policy of the type {policy_type!r}")

    def list(self, policy_type: str | None = None) -> list[PolicyEntry]:
        """Newest first: of one type, its history."""
        test = "? IS NULL OR p.policy_type = ?"
        rows = self.memory.driver.query(f"{SELECT} WHERE {test} ORDER BY p.learned_at DESC, p.number DESC", (policy_type, policy_type))
        return [self._entry(row) for row in rows]

    def search(self, policy_type: str | None, vector: np.ndarray, k: int = 10) -> "list[PolicyEntry]":
        """Those of a type whose kind of request is nearest to ``vector``, nearest first. Policies without an embedding are not found."""
        allowed = None if policy_type is None else self._of_type(policy_type)
        numbers = [number for number, _ in self.memory.nearest(COLLECTION, vector, k, allowed)]
        now, busy = self.memory.clock.now_ms(), self.memory.busy
        if now >= self._found_until:
            self._found.clear()
            self._found_until = now + self.config.ttl_ms
        found = {} if busy else {number: self._found.pop(number) for number in numbers if number in self._found}
        if missing := [number for number in numbers if number not in found]:
            rows = self.memory.driver.query(f"{SELECT} WHERE p.number IN ({', '.join('?' * len(missing))})", missing)
            found.update((row[0], self._entry(row)) for row in rows)
        entries = {number: self._touched(number, found[number]) for number in numbers if number in found}
        if not busy:
            self._found.update(entries)
            while len(self._found) > HELD:
                self._found.popitem(last=False)
        return list(entries.values())

    def _of_type(self, policy_type: str) -> np.ndarray:
        if policy_type not in self._numbers or self.memory.busy:
            rows: Any = self.memory.driver.query("SELECT number FROM policies WHERE policy_type = ? ORDER BY number", (policy_type,))
            self._numbers[policy_type] = np.fromiter((number for (number,) in rows), np.int64, len(rows))
        return self._numbers[policy_type]

    def _text(self, entry: PolicyEntry) -> str:
        values = {**entry.parameters, **(entry.parameters.get("fallback") or {})}
        template = self.texts.get(entry.policy_type, f"{entry.policy_type} policy")
        return template.format(**{**_defaults(entry.policy_type), **values})

    def _rows(self, condition: str, value: str) -> "list[Any]":
        return self.memory.driver.query(f"{SELECT} WHERE {condition}", (value,))

    def _entry(self, row: Any) -> PolicyEntry:
        number, id, policy_type, parameters, confidence, fisher, learned_at, last_accessed, source, version, embedding = row
        vectors, used = (from_blob(embedding, "<f2"), from_blob(fisher, "<f4")), self._used.get(number, last_accessed)
        return PolicyEntry(policy_type, json.loads(parameters), source, confidence, *vectors, id, learned_at, used, version)

    def _touched(self, number: int, entry: PolicyEntry) -> PolicyEntry:
        """The entry, which is noted as used, to the minute."""
        now = self.memory.clock.now_ms()
        if not self.memory.writable or now - entry.last_accessed < TOUCH_MS:
            return entry
        self._used[number] = now
        return replace(entry, last_accessed=now)

    def _note_uses(self) -> None:
        """Writes when policies were used: with what is made durable anyway, and before those used longest ago have to go."""
        uses, self._used = self._used, {}
        if uses and self.memory.writable:
            self.memory.driver.executemany("UPDATE policies SET last_accessed = ? WHERE number = ?", [(at, n) for n, at in uses.items()])


def _defaults(policy_type: str) -> dict[str, Any]:
    if policy_type == "router":
        return asdict(Fallback())
    typed: Any = TYPED.get(policy_type)
    return asdict(typed()) if policy_type in ("quantization", "ewc", "pattern") else {}
