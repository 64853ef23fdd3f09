"""The adapters that are kept in a memory, and those of them that the loaded model speaks with.

await llm.models.adapters.add("formal.gguf")              # kept, made ready; "formal" from its file's name
llm.models.adapters.list()
llm.models.model.generate("Dear", adapter="formal")
await llm.models.adapters.remove("formal")
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

import numpy as np

from ..config import Clock
from ..errors import ConfigError, ModelError, NotFoundError, RuvLLMError
from ..host import Host
from ..storage.driver import Driver
from .adapter import AdapterStore, Lora, read_adapter
from .language import LanguageModel

if TYPE_CHECKING:
    from .shelf import ModelShelf

READY = 8  # that are recorded when the model is loaded; the others are when they first speak

log = logging.getLogger("pyruvllm")


@dataclass(frozen=True)
class KeptAdapter:
    """The newest version of one. saved_at: UTC milliseconds; fits: it was made for the loaded model; ready: turning to it is a look-up."""

    name: str
    version: int
    saved_at: int
    nbytes: int
    fits: bool
    ready: bool


class AdapterShelf:
    """driver: of the memory they are kept in; None where there is none, and then they last as long as the model does."""

    def __init__(self, shelf: "ModelShelf", driver: Callable[[], Driver | None], host: Host, clock: Clock) -> None:
        self._shelf, self._driver, self._host, self._clock = shelf, driver, host, clock

    def list(self) -> "list[KeptAdapter]":
        """All that are kept, and those that only the model has, by name."""
        model, found = self._model, dict[str, KeptAdapter]()
        base = model.adapters.base if model else None
        driver = self._driver()
        rows: Any = driver.query("SELECT name, version, created_at, base, length(content) FROM adapters ORDER BY version") if driver else []
        for name, version, at, of, size in rows:
            found[name] = KeptAdapter(name, version, at, size, of == base, model is not None and of == base and model.ready(name))
        for name in model.adapters.names if model else ():
            if model and name not in found:
                found[name] = KeptAdapter(name, 0, 0, model.adapters.size(name), True, model.ready(name))
        return [found[name] for name in sorted(found)]

    async def add(self, source: Any, name: str | None = None) -> KeptAdapter:
        """Keeps an adapter as a further version of that name, durably, and makes it ready: from a GGUF file (a path, in the browser a
        File), or a ``Lora``. name: else that of the file.

        ModelError where no model from a GGUF file is loaded, which it is made for; GgufError, ConfigError where it does not fit that;
        PoolFullError; what the database raises. Nothing is kept then.
        """
        model = self._model
        if model is None:
            raise ModelError("an adapter is made for one model: load that first, from a GGUF file; nothing was kept")
        name = name or PurePath(str(getattr(source, "name", source))).stem
        if isinstance(source, Lora):
            lora = source
        else:
            file = self._host.file(source)
            try:
                room = np.empty(file.size, np.uint8)
                await file.read_into(0, room)
                lora = read_adapter(room)
            finally:
                await file.close()
        if not name.strip():
            raise ConfigError("an adapter needs a name; nothing was kept")
        async with self._shelf.alone():
            if self._model is not model:
                raise ModelError(f"the model that {name!r} was made for is gone; nothing was kept")
            model.adapters.check(lora)
            driver = self._driver()
            if driver is None:
                model.adapters.load(name, lora)
            else:
                store = AdapterStore(driver, self._clock)
                version = store.save(name, lora, model.adapters.base)
                try:
                    _load(store, model, name, version)
                    await driver.flush()
                except BaseException:
                    store.delete(name, version)
                    self._know_again(model, store, name)
                    raise
            model.runner.prepare(name)
        return next(each for each in self.list() if each.name == name)

    async def remove(self, name: str) -> None:
        """All versions, for good; what speaks with it can do so no more. NotFoundError."""
        async with self._shelf.alone():
            model, driver = self._model, self._driver()
            gone = AdapterStore(driver, self._clock).delete(name) if driver else 0
            if model is not None and name in model.adapters.names:
                model.turn_away(name)
                gone += 1
            if not gone:
                raise NotFoundError(f"no adapter {name!r}; there are {', '.join(each.name for each in self.list()) or 'none'}")
            if driver is not None:
                await driver.flush()

    def offer(self, model: LanguageModel) -> None:
        """A model was loaded: it knows those that were made for it, and the newest are recorded. One that cannot be read is left out."""
        driver, base = self._driver(), model.adapters.base
        if driver is None:
            return
        store = AdapterStore(driver, self._clock)
        rows: Any = driver.query(
            "SELECT name, max(version) FROM adapters WHERE base = ? GROUP BY name ORDER BY max(created_at) DESC", (base,)
        )
        for place, (name, version) in enumerate(rows):
            try:
                _load(store, model, name, version)
                if place < READY:
                    model.runner.prepare(name)
            except RuvLLMError as error:
                log.warning("the adapter %r is left out: %s", name, error)

    async def renew(self) -> None:
        """Another database came in the place of the one before: the model knows what that has."""
        async with self._shelf.alone():
            if (model := self._model) is not None:
                for name in model.adapters.names:
                    model.turn_away(name)
                self.offer(model)

    def _know_again(self, model: LanguageModel, store: AdapterStore, name: str) -> None:
        """The version before one that could not be kept."""
        if name in model.adapters.names:
            model.turn_away(name)
        rows: Any = store.driver.query("SELECT max(version) FROM adapters WHERE name = ? AND base = ?", (name, model.adapters.base))
        if rows[0][0] is not None:
            _load(store, model, name, rows[0][0])

    @property
    def _model(self) -> LanguageModel | None:
        model = self._shelf.model
        return model if isinstance(model, LanguageModel) else None


def _load(store: AdapterStore, model: LanguageModel, name: str, version: int) -> None:
    model.adapters.load(name, lambda: store.load(name, model.adapters.base, version))
