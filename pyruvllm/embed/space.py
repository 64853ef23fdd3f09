"""The embedding space: which model, which version of it, how many dimensions. Vectors of two spaces are never compared."""

from dataclasses import dataclass

from ..config import DIMENSION


@dataclass(frozen=True)
class Space:
    model: str
    version: str  # first 12 hex digits of the model file's sha256
    dimension: int = DIMENSION

    @property
    def key(self) -> str:
        return f"{self.model}@{self.version}/{self.dimension}"
