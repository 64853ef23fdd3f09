"""Settings: frozen dataclasses whose defaults work, and the clock that everything asks for the time."""

import time
import uuid
from dataclasses import dataclass, field

from .errors import ConfigError

DIMENSION = 768  # of every embedding, whatever model made it
PRECISIONS = ("f16", "q8", "q8q4", "q4")  # of older keys and values of conversations, best first
COLD = {"browser": 64 << 20, "native": 1 << 30}  # bytes of conversations in the database, where nobody says how many
CODECS = ("auto", "float32", "int8", "bit1")  # "auto": whatever searches fastest here


class Clock:
    """Where time and ids come from. Tests and replays put their own in its place."""

    def now_ms(self) -> int:
        """UTC, milliseconds since 1970."""
        return time.time_ns() // 1_000_000

    def elapsed_ms(self) -> float:
        """Monotonic, milliseconds since an arbitrary start."""
        return time.perf_counter() * 1000

    def new_id(self) -> str:
        return str(uuid.uuid4())


@dataclass(frozen=True)
class ChunkConfig:
    """How long text becomes passages. Sizes in tokens of the embedding model."""

    size: int = 180
    overlap: int = 30


@dataclass(frozen=True)
class IndexConfig:
    """The vector index of a collection: a scan or a graph, whichever is cheaper by what searches cost on this machine.

    Measured or not, up to ``exact_at_least`` vectors it is a scan and above ``exact_below`` a graph; equal, they are where it changes.
    ``codec`` is how a graph keeps vectors, of collections that are made from now on: a scan has them as float32.
    """

    m: int = 32
    ef_construction: int = 200
    ef_search: int = 64
    exact_at_least: int = 1_000
    exact_below: int = 20_000
    codec: str = "auto"  # one of CODECS
    seed: int = 20260118

    def __post_init__(self) -> None:
        if self.codec not in CODECS:
            raise ConfigError(f"codec is {self.codec!r}; one of {', '.join(CODECS)} would be right")


@dataclass(frozen=True)
class WritebackConfig:
    batch: int = 100
    wait_ms: int = 1000
    bound: int = 10_000


@dataclass(frozen=True)
class PolicyConfig:
    ttl_ms: int = 60_000  # for which a policy that is in force is not read again, unless it changed here
    capacity: int = 10_000  # policies beyond which those used longest ago go; none that is in force or bundled

    def __post_init__(self) -> None:
        if self.ttl_ms < 0 or self.capacity < 1:
            raise ConfigError(f"policies need ttl_ms of 0 or more and a capacity of 1 or more, not {self}")


@dataclass(frozen=True)
class SessionConfig:
    """When the live state of a session ends. The conversation itself is kept, for ever unless ``keep_ms`` says how long."""

    idle_ms: int = 300_000  # without a turn
    lifetime_ms: int = 3_600_000  # since it became live
    keep_ms: int | None = None  # without a turn, after which a conversation that is not pinned is removed
    warm: int = 2048  # sessions that are held ready

    def __post_init__(self) -> None:
        if self.idle_ms < 1 or self.lifetime_ms < 1 or self.warm < 1 or (self.keep_ms is not None and self.keep_ms < self.idle_ms):
            raise ConfigError(f"sessions need idle_ms, lifetime_ms and warm of 1 or more, and no keep_ms below idle_ms, not {self}")


@dataclass(frozen=True)
class RecallConfig:
    """What an answer may draw on."""

    k: int = 6


@dataclass(frozen=True)
class GenerationConfig:
    """How a language model answers, where one is loaded. temperature, top_p: None leaves them to the router.

    history: exchanges of the conversation it is told of at most; context: tokens it has room for, of those it was trained for;
    use_model False: answers are quoted from memory all the same.
    """

    use_model: bool = True
    temperature: float | None = None
    top_p: float | None = None
    top_k: int = 40
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    frequency_penalty: float = 0.0
    presence_penalty: float = 0.0
    seed: int | None = None
    max_tokens: int = 400
    stop: tuple[str, ...] = ()
    context: int = 4096
    history: int = 8

    def __post_init__(self) -> None:
        for name, least in (("max_tokens", 1), ("context", 64), ("history", 0), ("top_k", 0)):
            value = getattr(self, name)
            if type(value) is not int or value < least:
                raise ConfigError(f"{name} is {value!r}; an integer of at least {least} would be right")
        bounds = {"temperature": (0, 100), "top_p": (0, 1), "min_p": (0, 1), "repetition_penalty": (1e-3, 1e3)}
        bounds |= {"frequency_penalty": (-10, 10), "presence_penalty": (-10, 10)}
        for name, (low, high) in bounds.items():
            value, unset = getattr(self, name), ", or None," if name in ("temperature", "top_p") else ""
            if value is None and unset:
                continue
            if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
                raise ConfigError(f"{name} is {value!r}; a number between {low} and {high}{unset} would be right")
        if self.top_p == 0:
            raise ConfigError("top_p is 0, which leaves no token; above 0 to 1, or None, would be right")
        if self.seed is not None and (type(self.seed) is not int or self.seed < 0):
            raise ConfigError(f"seed is {self.seed!r}; an integer of 0 or more, or None, would be right")
        if not isinstance(self.stop, list | tuple) or not all(isinstance(one, str) and one for one in self.stop):
            raise ConfigError(f"stop is {self.stop!r}; strings that are not empty would be right")


@dataclass(frozen=True)
class CacheConfig:
    """Keys and values of conversations. budget: bytes at most, on a device that has the room; cold: bytes of rows in the database, None for
    what suits the host: COLD["browser"], which reads them all when it is opened, or COLD["native"], where they stay on disk.

    old: how tokens are kept behind the newest ``tail`` ones, which are float16: "q8", "q8q4" (8-bit keys, 4-bit values), "q4" or "f16";
    rotate: by a Hadamard matrix, where the size of a head is a power of two. What differs from these defaults is a choice, and holds:
    memory that is short takes it lower as far as the quantization policy allows, and nothing takes it higher. The defaults leave all
    of it to the policy (``cache.quantize.decide``).
    """

    budget: int = 256 << 20
    cold: int | None = None
    old: str = "q8"
    rotate: bool = False
    tail: int = 256

    def __post_init__(self) -> None:
        if self.old not in PRECISIONS:
            raise ConfigError(f"old is {self.old!r}; one of {', '.join(PRECISIONS)} would be right")
        if type(self.tail) is not int or self.tail < 0 or self.tail % 16:
            raise ConfigError(f"tail is {self.tail!r} tokens; a multiple of 16, or 0, would be right")
        if self.budget < 1 or (self.cold is not None and self.cold < 0):
            raise ConfigError(f"the cache needs a budget of 1 or more and no cold below 0, not {self}")

    @property
    def chosen(self) -> bool:
        """Whether something of how tokens are kept is a choice."""
        return (self.old, self.rotate, self.tail) != (CacheConfig.old, CacheConfig.rotate, CacheConfig.tail)


@dataclass(frozen=True)
class Config:
    chunk: ChunkConfig = field(default_factory=ChunkConfig)
    index: IndexConfig = field(default_factory=IndexConfig)
    writeback: WritebackConfig = field(default_factory=WritebackConfig)
    recall: RecallConfig = field(default_factory=RecallConfig)
    generation: GenerationConfig = field(default_factory=GenerationConfig)
    policy: PolicyConfig = field(default_factory=PolicyConfig)
    session: SessionConfig = field(default_factory=SessionConfig)
    cache: CacheConfig = field(default_factory=CacheConfig)
    clock: Clock = field(default_factory=Clock)
    lock_after_minutes: float | None = None  # without a request, of a sealed memory; None: it locks when told to
