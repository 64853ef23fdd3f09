"""What the stores of other packages share: a memory that was given to them, or one that they opened themselves."""

from typing import Any, Self

from .. import runtime
from .embedder import LangChainEmbedder
from .home import Home


class Lodger:
    home: Home
    _llm: runtime.RuvLLM | None = None

    @classmethod
    def open(cls, name: str = ":memory:", embedding: Any = None, **options: Any) -> Self:
        """With a memory of its own in a thread of its own; close it. ``embedding``: LangChain's; without it the memory's own model.

        ``options``: as when the store is made over a memory. HostError in a browser, where there are no threads.
        """
        home = Home.apart()
        try:
            llm = home.wait(runtime.open(name, embedder=None if embedding is None else LangChainEmbedder(embedding)))
            store = cls(llm.memory, home=home, **options)  # type: ignore[call-arg]
        except BaseException:
            home.close()
            raise
        store._llm = llm
        return store

    def close(self) -> None:
        """Flushes and closes the memory, if the store opened it."""
        if self._llm is not None:
            self.home.wait(self._llm.close())
            self._llm = None
            self.home.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
