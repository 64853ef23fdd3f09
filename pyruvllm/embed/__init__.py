"""Text to vectors: (n, 768) float32 of unit length, in a named space."""

from .. import host
from ..config import Clock
from ..storage import Driver
from .cache import CachedEmbedder
from .embedder import Embedder, Progress
from .onnx import OnnxEmbedder
from .space import Space

__all__ = ["CachedEmbedder", "Embedder", "OnnxEmbedder", "Progress", "Space", "open_embedder"]


async def open_embedder(driver: Driver | None = None, *, progress: Progress | None = None, clock: Clock | None = None) -> Embedder:
    """The embedder of this host: all-MiniLM-L6-v2, with the cache of ``driver``'s database in front when there is one.

    ``progress`` counts bytes of the model as they arrive. ModelError if the model is not there or not what it should be,
    HostError if nothing here can run it.
    """
    embedder = await OnnxEmbedder.open(host.current(), progress=progress)
    return CachedEmbedder(embedder, driver, clock=clock) if driver else embedder
