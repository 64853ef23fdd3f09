"""Writes by name: done here where the memory is written, else asked of the tab that writes, and each of them done once.

A request is JSON: name and parameters; bytes and arrays go as base64. What was done is recorded under the request's id in the same
transaction, so that whoever is asked again, after the tab that did it died or lost the writer's place, answers and does not do it again.
"""

import base64
import inspect
import json
import logging
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import Any

import numpy as np

from .. import errors
from ..config import Clock
from ..errors import FencedError, MemoryStoreError, ReadOnlyError, RuvLLMError
from ..storage.driver import Driver

KEPT_MS = 3_600_000  # a request is asked again within seconds or never
BYTES, ARRAY = "\0bytes", "\0array"

log = logging.getLogger("pyruvllm.memory")

Method = Callable[..., Any]  # of JSON values, bytes and arrays; the result too, a coroutine or not
Finish = Callable[[], Awaitable[None]]  # what is left to do where the writer died after the transaction


class Operations:
    """``flush``: makes durable what was written."""

    def __init__(self, driver: Driver, clock: Clock, flush: Callable[[], Awaitable[None]]):
        self._driver, self._clock, self._flush = driver, clock, flush
        self._methods: dict[str, tuple[Method, Finish]] = {}
        self._current: ContextVar[str | None] = ContextVar("operation", default=None)

    def add(self, name: str, method: Method, finish: Finish | None = None) -> None:
        """``method`` calls ``record`` in the transaction in which it writes, unless doing it twice changes nothing."""
        self._methods[name] = (method, finish or self._flush)

    def record(self, result: Any = None) -> None:
        """Notes, in the open transaction, that the operation that is being done is done by it. ``result``: JSON, no content."""
        id = self._current.get()
        if id is None or not self._driver.shared:
            return
        now = self._clock.now_ms()
        self._driver.execute("DELETE FROM operations WHERE done_at < ?", [now - KEPT_MS])
        self._driver.execute("INSERT OR REPLACE INTO operations (id, done_at, result) VALUES (?, ?, ?)", [id, now, json.dumps(result)])

    async def run(self, name: str, id: str | None = None, **parameters: Any) -> Any:
        """Does it, or has it done, and returns its result. ``id``: of an attempt before whose outcome is not known.

        What the method raises; StorageError where no tab answers. A tab that stops being the writer meanwhile asks the next one.
        """
        asked = id or self._clock.new_id()
        while True:
            if self._driver.role == "follower":
                return _result(await self._driver.call(asked, json.dumps([name, parameters], default=_plain)))
            try:
                return await self._once(asked, name, parameters)
            except (FencedError, ReadOnlyError):
                if self._driver.role != "follower":
                    raise

    async def perform(self, id: str, request: str) -> str:
        """For another tab. Raises only where this one is not the writer any more."""
        name, parameters = json.loads(request, object_hook=_rich)
        try:
            if name not in self._methods:
                raise MemoryStoreError(f"the tab that writes has no operation {name!r}: it runs another version; reload it")
            result = await self._once(id, name, parameters)
            await self._flush()
            return json.dumps({"result": result}, default=_plain)
        except (FencedError, ReadOnlyError):
            raise
        except RuvLLMError as error:
            return json.dumps({"kind": type(error).__name__, "message": str(error)})
        except Exception as error:
            log.exception("%s was asked for by another tab and failed", name)
            return json.dumps({"kind": "MemoryStoreError", "message": f"{name}: {type(error).__name__}: {error}"})

    async def _once(self, id: str, name: str, parameters: dict[str, Any]) -> Any:
        method, finish = self._methods[name]
        rows = self._driver.query("SELECT result FROM operations WHERE id = ?", [id]) if self._driver.shared else []
        if rows:
            await finish()
            return json.loads(str(rows[0][0]))
        token = self._current.set(id)
        try:
            result = method(**parameters)
            return await result if inspect.isawaitable(result) else result
        finally:
            self._current.reset(token)


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return {BYTES: base64.b64encode(value).decode()}
    if isinstance(value, np.ndarray):
        return {ARRAY: base64.b64encode(value.astype("<f4").tobytes()).decode(), "shape": value.shape}
    raise TypeError(f"{type(value).__name__} cannot be sent to another tab")


def _rich(value: dict[str, Any]) -> Any:
    if BYTES in value:
        return base64.b64decode(value[BYTES])
    if ARRAY in value:
        return np.frombuffer(base64.b64decode(value[ARRAY]), "<f4").reshape(value["shape"]).astype(np.float32)
    return value


def _result(answer: str) -> Any:
    told = json.loads(answer, object_hook=_rich)
    if "result" in told:
        return told["result"]
    raise getattr(errors, told["kind"], MemoryStoreError)(told["message"])
