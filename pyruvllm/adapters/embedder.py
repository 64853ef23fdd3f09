"""LangChain's ``Embeddings`` as an embedder of the memory."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..config import DIMENSION
from ..embed.projection import INNER, project
from ..embed.space import Space
from ..errors import EmbeddingError


class LangChainEmbedder:
    """LangChain's ``Embeddings`` as an embedder of the memory. Up to 768 numbers, mapped to 768 without changing an angle."""

    def __init__(self, embeddings: Any, space: str | None = None):
        """``space`` names the model; without it the class and its attribute ``model`` do."""
        self.embeddings = embeddings
        self.space = Space(space or f"{type(embeddings).__name__}:{getattr(embeddings, 'model', '')}", "langchain")

    async def embed(self, texts: Sequence[str], *, progress: Any = None) -> np.ndarray:
        if not len(texts):
            return np.empty((0, DIMENSION), np.float32)
        return mapped(await self.embeddings.aembed_documents(list(texts)))

    async def query(self, text: str) -> np.ndarray:
        """(768,): some models embed questions otherwise than documents."""
        return mapped([await self.embeddings.aembed_query(text)])[0]

    def count(self, text: str) -> int:
        return len(self.spans(text))

    def spans(self, text: str) -> list[tuple[int, int]]:
        """Words: LangChain's interface has no tokens."""
        places, at = [], 0
        for word in text.split():
            at = text.index(word, at)
            places.append((at, at + len(word)))
            at += len(word)
        return places


def mapped(vectors: Sequence[Sequence[float]]) -> np.ndarray:
    rows = np.asarray(vectors, np.float32)
    if rows.ndim != 2 or not 0 < rows.shape[1] <= DIMENSION or not np.isfinite(rows).all():
        raise EmbeddingError(f"the embeddings have the shape {rows.shape}; (texts, up to {DIMENSION}) finite numbers would be right")
    wide = np.zeros((len(rows), -(-rows.shape[1] // INNER) * INNER), np.float32)
    wide[:, : rows.shape[1]] = rows
    lengths = np.linalg.norm(wide, axis=1, keepdims=True)
    if not lengths.all():
        raise EmbeddingError("an embedding is all zeros, which points nowhere")
    return project(wide / lengths)


async def question(embedder: Any, text: str) -> np.ndarray:
    """(768,) of a question: some models embed it otherwise than what is kept."""
    return await embedder.query(text) if isinstance(embedder, LangChainEmbedder) else (await embedder.embed([text]))[0]
