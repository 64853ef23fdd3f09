"""Low-rank adapters (LoRA, Hu et al. 2021, arXiv:2106.09685) beside the weights of a decoder: read, written, loaded, kept.

    lora = read_adapter(file)                            # llama.cpp's GGUF: general.type "adapter", adapter.type "lora"
    adapters = runner.adapters                           # or Adapters(parts, pool, identity)
    adapters.load("formal", lora)                        # into the pool, in float16
    runner.use(runner.begin(ids, adapter="formal"))      # this sequence speaks with it; others do not

y = W x + scale B A x, at run time: the weights stay as they are, and any number of adapters share them.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..cache import Holding, Pool
from ..config import Clock
from ..errors import ConfigError, GgufError, MismatchError, NotFoundError
from ..storage.driver import Driver
from .gguf import GgufWriter, dequantize, read_head
from .parts import ATTENTION, CONVOLUTION, FEED_FORWARD, Parts

ADAPTED = (*ATTENTION, *CONVOLUTION, *FEED_FORWARD)  # matrices of a layer that an adapter may stand beside


@dataclass(frozen=True)
class Lora:
    """parts: by the name of a matrix, A (rank, cols) and B (rows, rank), float32. Its scale is alpha / rank, 1 where alpha is 0."""

    alpha: float
    parts: Mapping[str, tuple[np.ndarray, np.ndarray]]
    architecture: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)  # further metadata of a file: str, int, float, bool

    def __post_init__(self) -> None:
        for name, (a, b) in self.parts.items():
            if a.ndim != 2 or b.ndim != 2 or len(a) != b.shape[1] or not len(a):
                raise ConfigError(f"the adapter of {name!r} is A {a.shape} and B {b.shape}; (rank, cols) and (rows, rank) would be right")
        if not self.parts:
            raise ConfigError("the adapter has no matrices")

    def scale(self, name: str) -> float:
        return self.alpha / len(self.parts[name][0]) if self.alpha else 1.0

    @property
    def digest(self) -> bytes:
        """Of its numbers."""
        digest = hashlib.blake2b(str(self.alpha).encode(), digest_size=16)
        for name in sorted(self.parts):
            digest.update(name.encode())
            for each in self.parts[name]:
                digest.update(np.ascontiguousarray(each, "<f2").tobytes())
        return digest.digest()


def read_adapter(file: bytes | memoryview | np.ndarray) -> Lora:
    """From a whole GGUF file. GgufError where it is no adapter of this kind."""
    data = memoryview(file) if not isinstance(file, np.ndarray) else memoryview(np.ascontiguousarray(file))
    head = read_head(data, len(data))
    meta = head.metadata
    if (meta.get("general.type"), meta.get("adapter.type")) != ("adapter", "lora"):
        raise GgufError(
            f"general.type is {meta.get('general.type')!r} and adapter.type {meta.get('adapter.type')!r}; 'adapter' and 'lora' are read"
        )
    alpha = meta.get("adapter.lora.alpha")
    if isinstance(alpha, bool) or not isinstance(alpha, int | float) or not np.isfinite(alpha):
        raise GgufError(f"adapter.lora.alpha is {alpha!r}; a number would be right")
    sides: dict[str, dict[str, np.ndarray]] = {}
    for tensor in head.tensors.values():
        stem, _, side = tensor.name.rpartition(".")
        if side not in ("lora_a", "lora_b") or len(tensor.shape) != 2:
            raise GgufError(f"the tensor {tensor.name!r} {tensor.shape} is no matrix NAME.lora_a or NAME.lora_b")
        values = dequantize(tensor, data[tensor.offset : tensor.offset + tensor.size]).reshape(tensor.shape)
        if not np.isfinite(values).all():
            raise GgufError(f"the tensor {tensor.name!r} holds infinite numbers or NaN")
        sides.setdefault(stem.removesuffix(".weight"), {})[side] = values
    alone = next((name for name, both in sides.items() if len(both) < 2), None)
    if alone is not None:
        raise GgufError(f"{alone!r} has only one of lora_a and lora_b")
    known = ("general.type", "general.architecture", "adapter.type", "adapter.lora.alpha")
    details = {key: value for key, value in meta.items() if key not in known and isinstance(value, str | int | float | bool)}
    try:
        parts = {name: (both["lora_a"], both["lora_b"]) for name, both in sides.items()}
        return Lora(float(alpha), parts, str(meta.get("general.architecture", "")), details)
    except ConfigError as error:
        raise GgufError(str(error)) from None


def write_adapter(lora: Lora, kind: str = "f32") -> bytes:
    """A GGUF file that llama.cpp reads too; kind: f32 or f16."""
    known = {"general.type": "adapter", "general.architecture": lora.architecture, "adapter.type": "lora"}
    writer = GgufWriter({**known, "adapter.lora.alpha": float(lora.alpha), **lora.details})
    for name, (a, b) in lora.parts.items():
        writer.add(f"{name}.weight.lora_a", a, kind)
        writer.add(f"{name}.weight.lora_b", b, kind)
    return writer.bytes()


class Loaded:
    """An adapter in the pool. sides: by matrix, A and B in float16 and the scale."""

    def __init__(self, name: str, identity: bytes, holding: Holding) -> None:
        self.name, self.identity, self.holding = name, identity, holding
        self.sides: dict[str, tuple[np.ndarray, np.ndarray, float]] = {}
        self.starts: list[int] = []


class Adapters:
    """Those of one model, in its pool. What the pool evicts is loaded again when it is needed, from what was given."""

    def __init__(self, parts: Parts, pool: Pool, identity: bytes, forgotten: Callable[[bytes], None] = lambda identity: None) -> None:
        self.parts, self.pool, self.base = parts, pool, identity
        self._forgotten = forgotten  # told of each that leaves memory
        self._given: dict[str, tuple[bytes, Callable[[], Lora], float]] = {}
        self._loaded: dict[bytes, Loaded] = {}

    @property
    def names(self) -> list[str]:
        return list(self._given)

    def load(self, name: str, lora: Lora | Callable[[], Lora], *, priority: float = 0.5) -> Loaded:
        """Under this name from now on. lora: or what reads it, again when it was evicted; one that is given stays in memory as it is.

        ConfigError where it does not fit the model, PoolFullError.
        """
        given = lora() if callable(lora) else lora
        self.check(given)
        identity = hashlib.blake2b(self.base + given.digest, digest_size=16).digest()
        if name in self._given and self._given[name][0] != identity:
            self.unload(name)
        self._given[name] = identity, lora if callable(lora) else (lambda: given), priority
        return self._loaded.get(identity) or self._placed(name, identity, given, priority)

    def unload(self, name: str) -> None:
        """NotFoundError."""
        identity = self.identity(name)
        del self._given[name]
        self._release(identity)

    def size(self, name: str) -> int:
        """Bytes that it takes in memory; 0 while it is evicted. NotFoundError."""
        loaded = self._loaded.get(self.identity(name))
        return loaded.holding.taken if loaded else 0

    def identity(self, name: str | None) -> bytes:
        """Of the model with that adapter; without one, of the model. NotFoundError."""
        if name is None:
            return self.base
        if name not in self._given:
            raise NotFoundError(f"no adapter {name!r}; there are {', '.join(self._given) or 'none'}")
        return self._given[name][0]

    def of(self, identity: bytes) -> Loaded | None:
        """The one that sequences of this identity speak with, in memory; None for the model itself.

        NotFoundError for one that was unloaded, PoolFullError, MismatchError for one that is read again and is another.
        """
        if identity == self.base:
            return None
        loaded = self._loaded.get(identity)
        if loaded is None:
            name = next((name for name, (known, _, _) in self._given.items() if known == identity), None)
            if name is None:
                raise NotFoundError("the adapter of this sequence is not loaded any more")
            _, read, priority = self._given[name]
            lora = read()
            if hashlib.blake2b(self.base + lora.digest, digest_size=16).digest() != identity:
                raise MismatchError(f"the adapter {name!r} is not what it was when it was loaded")
            loaded = self._placed(name, identity, lora, priority)
        self.pool.pin(loaded.holding)
        return loaded

    def _placed(self, name: str, identity: bytes, lora: Lora, priority: float) -> Loaded:
        loaded = Loaded(name, identity, self.pool.hold("adapter", name, priority=priority))
        try:
            for part, sides in lora.parts.items():
                a, b = (self._half(loaded, each) for each in sides)
                loaded.sides[part] = a, b, lora.scale(part)
        except BaseException:
            self._given_back(loaded)
            raise
        loaded.holding.release = lambda: self._release(identity)
        self._loaded[identity] = loaded
        return loaded

    def _half(self, loaded: Loaded, values: np.ndarray) -> np.ndarray:
        start = self.pool.take(loaded.holding, 2 * values.size)
        loaded.starts.append(start)
        place = self.pool.view(start, 2 * values.size).view(np.float16).reshape(values.shape)
        with np.errstate(over="ignore"):
            place[...] = np.clip(values, -65504, 65504)
        return place

    def _release(self, identity: bytes) -> None:
        loaded = self._loaded.pop(identity, None)
        if loaded is not None:
            self._forgotten(identity)
            self._given_back(loaded)

    def _given_back(self, loaded: Loaded) -> None:
        for start in loaded.starts:
            self.pool.give(start)
        loaded.sides, loaded.starts = {}, []
        self.pool.drop(loaded.holding)

    def check(self, lora: Lora) -> None:
        """ConfigError where it does not fit the model."""
        for name, (a, b) in lora.parts.items():
            weights = self.parts.matrices.get(name)
            if weights is None or not name.endswith(tuple(f".{one}" for one in ADAPTED)):
                raise ConfigError(f"the adapter has a part for {name!r}, which is no matrix of a layer of this model: it is of another")
            if (len(b), a.shape[1]) != weights.shape:
                shapes = f"{len(b)} x {a.shape[1]}; that of this model is {weights.rows} x {weights.cols}"
                raise ConfigError(f"the adapter was made for another model: its {name!r} is for a matrix of {shapes}")


class AdapterStore:
    """Checkpoints of adapters in the database: each ``save`` is a further version. Durable with the next flush of the driver."""

    def __init__(self, driver: Driver, clock: Clock | None = None) -> None:
        self.driver, self.clock = driver, clock or Clock()

    def save(self, name: str, lora: Lora, base: bytes, details: Mapping[str, Any] | None = None) -> int:
        """base: identity of the model that it was made for. The version, counted from 1."""
        with self.driver.transaction():
            ((last,),) = self.driver.query("SELECT coalesce(max(version), 0) FROM adapters WHERE name = ?", (name,))
            version = int(last) + 1  # type: ignore[arg-type]
            self.driver.execute(
                "INSERT INTO adapters (name, version, base, created_at, details, content) VALUES (?, ?, ?, ?, ?, ?)",
                (name, version, base, self.clock.now_ms(), json.dumps(dict(details or {})), write_adapter(lora, "f16")),
            )
        return version

    def load(self, name: str, base: bytes, version: int | None = None) -> Lora:
        """The newest, or the one of that version. NotFoundError, MismatchError for one that was made for another model."""
        rows: Any = self.driver.query(
            "SELECT base, content FROM adapters WHERE name = ?1 AND (?2 IS NULL OR version = ?2) ORDER BY version DESC LIMIT 1",
            (name, version),
        )
        if not rows:
            raise NotFoundError(f"no adapter {name!r}" + (f" of version {version}" if version is not None else ""))
        if rows[0][0] != base:
            raise MismatchError(f"the adapter {name!r} was made for another model")
        return read_adapter(rows[0][1])

    def list(self) -> list[tuple[str, int, int]]:
        """(name, version, when it was saved), the newest first."""
        return self.driver.query("SELECT name, version, created_at FROM adapters ORDER BY created_at DESC, number DESC")  # type: ignore[return-value]

    def delete(self, name: str, version: int | None = None) -> int:
        """All versions, or one; how many there were."""
        return self.driver.execute("DELETE FROM adapters WHERE name = ?1 AND (?2 IS NULL OR version = ?2)", (name, version))
