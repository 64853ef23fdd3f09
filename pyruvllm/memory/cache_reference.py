"""Where the keys and values of a conversation are, and how exactly they are kept."""

import json
from dataclasses import dataclass

from ..errors import ConfigError

TIERS = ("hot", "warm", "cold")


@dataclass(frozen=True)
class CacheQuantization:
    """How exactly cached keys and values are kept: a tail of the newest tokens, a store of the older ones, or both."""

    tail_length: int = 0  # tokens
    tail_precision: str | None = None
    store_precision: str | None = None
    compression_ratio: float | None = None


@dataclass(frozen=True)
class KvCacheRef:
    """Where the KV cache of a session is."""

    tier: str  # "hot", "warm", "cold"
    location: str
    cached_tokens: int
    quantization: CacheQuantization
    created_at: int  # UTC milliseconds

    def __post_init__(self) -> None:
        if self.tier not in TIERS:
            raise ConfigError(f"tier is {self.tier!r}; one of {', '.join(TIERS)} would be right")
        if not isinstance(self.location, str) or not isinstance(self.quantization, CacheQuantization):
            raise ConfigError(f"a cache has a location and a CacheQuantization, not {self.location!r} and {self.quantization!r}")
        for name in ("cached_tokens", "created_at"):
            if type(getattr(self, name)) is not int or getattr(self, name) < 0:
                raise ConfigError(f"{name} is {getattr(self, name)!r}; a whole number of 0 or more would be right")

    @classmethod
    def read(cls, text: str | None) -> "KvCacheRef | None":
        """What ``to_json`` made of one."""
        if text is None:
            return None
        values = json.loads(text)
        return cls(**{**values, "quantization": CacheQuantization(**values["quantization"])})
