"""Language models in ONNX, run by whatever onnxruntime the host has, behind the same interface as the decoders of GGUF files.

Names are those of the public LFM2 exports: input_ids, attention_mask, past_conv.{i} (1, hidden, columns), past_key_values.{i}.key and
.value (1, heads, past, size), where they are asked for position_ids and num_logits_to_keep; out come logits, present_conv.{i},
present.{i}.key and .value. What a graph wants is asked of the session. What it remembers stays where it runs from one step to the next.
"""

import asyncio
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..cache import Pool
from ..config import Clock
from ..errors import ConfigError, ModelError
from ..host import Held, Host, OnnxSession
from ..host.base import Progress
from .dialogue import Dialogue
from .hub import metadata_of
from .speaker import GUESSED, Pace
from .tokenizer import load

BLOCK = 64  # tokens of a prompt that are read together
CONTEXT = 4096  # tokens, unless asked for others
KNOWN = ("input_ids", "attention_mask", "position_ids", "num_logits_to_keep")
TYPES = {"float32": np.float32, "float16": np.float16}


class OnnxRunner:
    """One sequence at work. Raises ModelError for a graph with other inputs than these."""

    def __init__(self, session: OnnxSession, context: int) -> None:
        self.context, self.kernels = context, None
        self.history: list[int] = []
        self._session = session
        self._links = {name: _present(name, session.outputs) for name in session.inputs if name.startswith("past")}
        wrong = next((name for name in session.inputs if name not in self._links and name not in KNOWN), None)
        missing = next((name for name in ("input_ids", "attention_mask") if name not in session.inputs), None)
        if wrong is not None:
            raise ModelError(f"the graph wants {wrong!r}, which is not known; {', '.join(KNOWN)} and what begins with past are")
        if missing is not None or "logits" not in session.outputs:
            raise ModelError(f"the graph has no {missing or 'logits'}")
        self._empty = {name: _nothing(name, *session.inputs[name]) for name in self._links}
        self._held: list[tuple[int, Held]] = []  # (tokens read, what is remembered then), of the last two steps
        self._pending: list[int] = []  # that are said and have to be read again, after what is held
        self._reading = asyncio.Lock()
        width = session.outputs["logits"][1][-1]
        self.vocabulary = width if isinstance(width, int) else 0  # until the first step where the graph does not tell

    @property
    def position(self) -> int:
        return len(self.history)

    async def read(self, ids: Sequence[int], pace: Pace, every: bool = False) -> np.ndarray:
        if not len(ids) or any(not 0 <= id < (self.vocabulary or 1 << 31) for id in ids):
            raise ConfigError(f"{list(ids)[:4]} are no tokens; 0 to {self.vocabulary - 1} are")
        if self.position + len(ids) > self.context:
            raise ConfigError(f"{self.position + len(ids)} tokens do not fit a context of {self.context}; {self.position} are in it")
        if every and len(ids) > GUESSED:
            raise ConfigError(f"the logits of {len(ids)} tokens are asked for; up to {GUESSED} are given")
        async with self._reading:
            todo, wanted = [*self._pending, *ids], len(ids) if every else 1
            while todo:
                size = len(todo) if len(todo) <= BLOCK + wanted else BLOCK  # those whose logits are wanted come together
                part, todo = todo[:size], todo[size:]
                logits = await self._step(part, wanted if not todo else 1)
                again = min(len(self._pending), len(part))
                self._pending = self._pending[again:]
                self.history += map(int, part[again:])
                await pace()
            self.vocabulary = logits.shape[-1]
            return logits

    async def _step(self, ids: list[int], wanted: int) -> np.ndarray:
        position, held = self._held[-1] if self._held else (0, None)
        feeds: dict[str, np.ndarray] = {} if held else dict(self._empty)
        feeds["input_ids"] = np.array([ids], np.int64)
        feeds["attention_mask"] = np.ones((1, position + len(ids)), np.int64)
        if "position_ids" in self._session.inputs:
            feeds["position_ids"] = np.arange(position, position + len(ids), dtype=np.int64)[None]
        if "num_logits_to_keep" in self._session.inputs:
            feeds["num_logits_to_keep"] = np.array(wanted, np.int64)
        values, after = await self._session.step(feeds, self._links, held)
        self._held.append((position + len(ids), after))
        while len(self._held) > 2:
            self._held.pop(0)[1].release()
        return values["logits"][0, -wanted:].astype(np.float32)  # (wanted, vocabulary)

    def rewind(self, position: int) -> None:
        if not 0 <= position <= self.position:
            raise ConfigError(f"position is {position}; 0 to {self.position} would be right")
        while self._held and self._held[-1][0] > position:
            self._held.pop()[1].release()
        del self.history[position:]
        self._pending = self.history[self._held[-1][0] if self._held else 0 :]

    def reset(self) -> None:
        self.rewind(0)


class OnnxLanguageModel(Dialogue):
    """metadata: of tokenizer and template, by GGUF's names (models/hub.py makes it of a Hub repository's files)."""

    def __init__(
        self, session: OnnxSession, metadata: dict[str, Any], *, size: int = 0, context: int | None = None, clock: Clock | None = None
    ) -> None:
        self.metadata, self.tokenizer, self.nbytes = metadata, load(metadata), size
        trained = metadata.get("context_length") or CONTEXT
        self.runner, self.clock = OnnxRunner(session, min(context or CONTEXT, trained)), clock or Clock()
        self.runner.vocabulary = self.runner.vocabulary or len(self.tokenizer.vocabulary)
        self._session = session
        self._joined()

    @property
    def name(self) -> str:
        return str(self.metadata.get("general.name") or "onnx")

    def drafting(self, pool: Pool | None = None) -> OnnxRunner:
        return OnnxRunner(self._session, self.runner.context)

    async def release(self) -> None:
        """Gives its memory back; it says nothing more."""
        self.close()
        self.runner.reset()
        await self._session.release()


async def open_onnx(
    host: Host,
    folder: str,
    file: str = "onnx/model.onnx",
    *,
    external: Sequence[str] = (),
    context: int | None = None,
    clock: Clock | None = None,
    progress: Progress | None = None,
) -> OnnxLanguageModel:
    """The model of a folder of assets laid out as on the Hub: config.json, tokenizer.json, where there is one tokenizer_config.json, and
    the graph; external: files beside the graph that hold its weights. ModelError, HostError.
    """
    files = {}
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        try:
            files[name] = await host.asset(f"{folder}/{name}")
        except ModelError:
            if name in ("config.json", "tokenizer.json"):
                raise
    metadata = metadata_of(files, folder.rpartition("/")[2])
    beside = [f"{f'{folder}/{file}'.rpartition('/')[0]}/{name}" for name in external]
    session = await host.onnx_session(f"{folder}/{file}", progress, external=beside)
    return OnnxLanguageModel(session, metadata, size=session.nbytes, context=context, clock=clock)


def _present(name: str, outputs: Any) -> str:
    """The output that becomes an input at the next step."""
    names = (name.replace("past_key_values", "present").replace("past_", "present_"), name.replace("past", "present"))
    found = next((each for each in names if each in outputs), None)
    if found is None:
        raise ModelError(f"the graph takes {name!r} and gives no {names[0]!r}; it gives {', '.join(outputs)}")
    return found


def _nothing(name: str, kind: str, shape: Sequence[int | str | None]) -> np.ndarray:
    """What is remembered before the first token: zeros, of no position."""
    sizes = [1, *shape[1:]]
    if "key_values" in name and len(sizes) == 4:
        sizes[2] = 0
    if kind not in TYPES or not all(isinstance(size, int) for size in sizes):
        raise ModelError(f"the graph's {name!r} is {kind} {tuple(shape)}; float32 or float16 of known sizes would be right")
    return np.zeros(sizes, TYPES[kind])  # type: ignore[arg-type]
