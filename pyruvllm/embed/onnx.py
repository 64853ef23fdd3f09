"""The embedder that is a transformer: all-MiniLM-L6-v2 in ONNX, run by whatever onnxruntime the host has.

Text longer than the model reads at once (254 tokens) is encoded in windows of about equal size, and its vector is their mean, each
window weighing as many tokens as it has: nothing of the text is silently left out.
"""

import asyncio
import json
from collections.abc import Sequence

import numpy as np

from ..config import DIMENSION
from ..errors import EmbeddingError, ModelError
from ..host import Host, OnnxSession
from .embedder import Progress
from .projection import project
from .space import Space
from .tokenizer import Tokenizer

MODEL = "all-MiniLM-L6-v2"
FOLDER = f"models/{MODEL}"
# Padded tokens of one batch. Larger ones gain nothing in WASM (measured: 72 ms a passage of 180 tokens alone, 70 in fours) and make
# cancelling and progress coarse: this is about a fifth of a second there.
BATCH_TOKENS = 512


class OnnxEmbedder:
    def __init__(self, tokenizer: Tokenizer, session: OnnxSession, space: Space, max_tokens: int):
        self.space = space
        self.window = max_tokens - 2  # tokens, beside [CLS] and [SEP]
        self._tokenizer = tokenizer
        self._session = session

    @classmethod
    async def open(cls, host: Host, *, progress: Progress | None = None) -> "OnnxEmbedder":
        """Loads the model from the host's assets. ``progress`` counts bytes of the model. ModelError, HostError."""
        try:
            about = json.loads(await host.asset(f"{FOLDER}/model.json"))
            name, version, max_tokens = str(about["name"]), str(about["version"]), int(about["max_tokens"])
            sha256, size = str(about["files"]["model.int8.onnx"]["sha256"]), int(about["files"]["model.int8.onnx"]["bytes"])
        except (ValueError, KeyError, TypeError) as error:
            raise ModelError(f"{FOLDER}/model.json does not describe a model: {error!r}") from error
        tokenizer = Tokenizer.from_json(await host.asset(f"{FOLDER}/tokenizer.json"))
        # the size is known here; a server that compresses does not tell it
        report = (lambda done, _: progress(done, size)) if progress else None
        session = await host.onnx_session(f"{FOLDER}/model.int8.onnx", report, sha256=sha256)
        return cls(tokenizer, session, Space(name, version), max_tokens)

    def count(self, text: str) -> int:
        return self._tokenizer.count(text)

    def spans(self, text: str) -> list[tuple[int, int]]:
        return self._tokenizer.encode(text).spans

    async def embed(self, texts: Sequence[str], *, progress: Progress | None = None) -> np.ndarray:
        """(n, 768) float32, unit length, every value exact in float16.

        Gives way to the event loop, and may be cancelled, between batches. EmbeddingError names the place of a text without words.
        """
        windows = self._windows(texts)
        left = np.bincount([text for text, _ in windows], minlength=len(texts))  # (texts,) windows still to come
        sums = np.zeros((len(texts), DIMENSION // 2), np.float32)
        for batch in batches(windows):
            vectors = await self._encode([ids for _, ids in batch])  # (windows, 384)
            for (text, ids), vector in zip(batch, vectors, strict=True):
                sums[text] += vector * len(ids)
                left[text] -= 1
            if progress:
                progress(int((left == 0).sum()), len(texts))
            await asyncio.sleep(0)
        return rounded(project(sums))

    def _windows(self, texts: Sequence[str]) -> list[tuple[int, list[int]]]:
        """(place of the text, token ids with the special ones), the shortest first."""
        if isinstance(texts, str):
            raise EmbeddingError("embed takes a list of texts, not one str: put it in a list")
        windows = []
        for place, text in enumerate(texts):
            ids = self._tokenizer.encode(text).ids
            if not ids:
                raise EmbeddingError(f"text {place} of {len(texts)} has no words to embed: {text[:40]!r}; leave it out")
            parts = -(-len(ids) // self.window)
            for part in np.array_split(ids, parts):
                windows.append((place, [self._tokenizer.first, *part.tolist(), self._tokenizer.last]))
        return sorted(windows, key=lambda window: len(window[1]))

    async def _encode(self, rows: list[list[int]]) -> np.ndarray:
        """(n, 384) float32, unit length."""
        ids = np.zeros((len(rows), max(map(len, rows))), np.int64)
        mask = np.zeros_like(ids)
        for row, tokens in enumerate(rows):
            ids[row, : len(tokens)] = tokens
            mask[row, : len(tokens)] = 1
        return (await self._session.run({"input_ids": ids, "attention_mask": mask}))["embedding"]


def batches(windows: list[tuple[int, list[int]]]) -> list[list[tuple[int, list[int]]]]:
    """Neighbours in length together, as many as fit in BATCH_TOKENS once padded to the longest, at least one."""
    grouped: list[list[tuple[int, list[int]]]] = []
    for window in windows:
        if grouped and (len(grouped[-1]) + 1) * len(window[1]) <= BATCH_TOKENS:
            grouped[-1].append(window)
        else:
            grouped.append([window])
    return grouped


def rounded(vectors: np.ndarray) -> np.ndarray:
    """To unit length, then to the nearest values of float16, as float32: what is stored and what is fresh are then the same."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return (vectors / lengths).astype(np.float16).astype(np.float32)
