"""What ``RuvLLM`` knows of the other tabs of its memory, and writes by name that any of them may ask for."""

from collections.abc import Callable
from functools import partial
from typing import Any

from .errors import ConfigError
from .memory.policy import PolicyEntry
from .memory.unified import UnifiedMemory
from .storage.driver import Role

# The synchronous writes that ``write`` has done by the tab that writes. What they return is read here by its id, where it has one.
WRITES = {
    "sessions": ("open", "append", "switch_adapter", "pin"),
    "patterns": ("learn", "reinforce"),
    "policies": ("put", "restore"),
    "graph": ("link", "unlink", "reinforce"),
}


class Tabbed:
    memory: UnifiedMemory
    touch: Callable[[], None]
    _listeners: tuple[Callable[[str, str], None], ...] = ()

    @property
    def role(self) -> Role:
        """ "writer"; "follower": another tab writes, also what is asked for here; "reader": nothing can be written."""
        return self.memory.driver.role

    @property
    def writable(self) -> bool:
        """Whether what is remembered, asked and rated here is kept."""
        return self.role != "reader"

    async def take_over(self) -> None:
        """From follower to writer, for what only a writer can do; the tab that was it saves first. ReadOnlyError of a reader."""
        await self.memory.driver.take_over()

    def on_role(self, callback: Callable[[str, str], None]) -> None:
        """Calls back with "writer" or "follower" and why when that changes, and with "refreshed" when another tab saved
        something, or had it saved here.
        """
        self._listeners = (*self._listeners, callback)

    def _told(self, what: str, why: str) -> None:
        for listener in self._listeners:
            listener(what, why)

    async def write(self, name: str, *given: Any, **named: Any) -> Any:
        """A write of one of the stores from any tab, durable on return: ``await llm.write("sessions.pin", "s1")``.

        Which ones: ``WRITES``. Returns the session, pattern or policy as it is then, None for what is none of these. Raises what the
        method raises, and ConfigError.
        """
        self.touch()
        store, _, method = name.partition(".")
        if method not in WRITES.get(store, ()):
            right = ", ".join(f"{store}.{method}" for store, methods in WRITES.items() for method in methods)
            raise ConfigError(f"there is no write {name!r}; {right} are")
        sent = {"given": [_plain(value) for value in given], "named": {key: _plain(value) for key, value in named.items()}}
        id = await self.memory.operations.run(f"write.{name}", **sent)
        return None if id is None else self._store(store).get(id)

    def serve_writes(self) -> None:
        for store, methods in WRITES.items():
            for method in methods:
                self.memory.operations.add(f"write.{store}.{method}", partial(self._write, store, method))

    async def _write(self, store: str, method: str, given: list[Any], named: dict[str, Any]) -> str | None:
        """The id of what was written, which is all that is recorded of it."""
        if (store, method) == ("policies", "put"):
            given, named = [PolicyEntry(**value) for value in (*given, *named.values())], {}
        with self.memory.transaction():
            written = getattr(self._store(store), method)(*given, **named)
            id = getattr(written, "id", None)
            self.memory.operations.record(id)
        await self.memory.flush()
        return id

    def _store(self, name: str) -> Any:
        return self.memory.graph if name == "graph" else getattr(self, name)


def _plain(value: Any) -> Any:
    return vars(value) if isinstance(value, PolicyEntry) else value
