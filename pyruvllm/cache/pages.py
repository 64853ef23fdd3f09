"""Pages in the pool: taken, shared, copied before they are written to, found again by what they hold."""

import hashlib
from collections import OrderedDict
from collections.abc import Sequence

import numpy as np

from ..kernels.registry import KernelRegistry
from .layout import PAGE, Form, Layout
from .pool import Holding, Pool
from .region import UNIT, rounded

Key = tuple[bytes, Layout, bool]  # the chain of tokens up to the page's last, its layout, whether it is rotated


class Page:
    """refs: of sequences that hold it; 0 for one that is only kept because its key may come again."""

    __slots__ = ("start", "layout", "refs", "key")

    def __init__(self, start: int, layout: Layout) -> None:
        self.start, self.layout, self.refs, self.key = start, layout, 1, None

    @property
    def place(self) -> int:
        """As tables count."""
        return self.start // UNIT


def chained(before: bytes, tokens: Sequence[int]) -> bytes:
    """The key of a full page of tokens that follows the one of key ``before``."""
    return hashlib.blake2b(before + np.asarray(tokens, "<i4").tobytes(), digest_size=16).digest()


class PageStore:
    """The pages of one model in a pool. ``pages``: how many there are, idle ones among them."""

    def __init__(self, form: Form, pool: Pool, kernels: KernelRegistry) -> None:
        self.form, self.pool, self.kernels = form, pool, kernels
        self.plain = Layout.of(form, "f16")
        self.pages = 0
        self._sizes = {"exact": 0, "old": 0}  # bytes in the pool: of float16, and of what is quantised
        self._found: dict[Key, Page] = {}
        self._idle: OrderedDict[Key, Page] = OrderedDict()  # the one that was longest unused first
        # never touched after: of all victims it is the one that was unused for longest
        self._shared = pool.hold("kv", "shared pages", priority=0.0, release=lambda: None, shrink=self._shrink)

    def new(self, layout: Layout, holding: Holding, *, evict: bool = True) -> Page:
        """PoolFullError, PersistError."""
        if not layout.size:
            return Page(0, layout)
        page = Page(self.pool.take(holding, layout.size, evict=evict), layout)
        self._count(page, 1)
        return page

    def some(self, layout: Layout, count: int, holding: Holding, *, evict: bool = True) -> list[Page]:
        """That many, or none where they do not fit. PoolFullError, PersistError."""
        pages: list[Page] = []
        try:
            for _ in range(count):
                pages.append(self.new(layout, holding, evict=evict))
        except BaseException:
            self.free(pages)
            raise
        return pages

    def share(self, page: Page) -> Page:
        page.refs += 1
        if page.key is not None:
            self._idle.pop(page.key, None)
        if page.layout.size:
            self.pool.move(page.start, self._shared)
        return page

    def free(self, pages: Sequence[Page], *, keep: bool = False) -> None:
        """One holder less. keep: those that can be found by their key are kept until the room is needed."""
        for page in pages:
            page.refs -= 1
            if page.refs:
                continue
            if keep and page.key is not None and self._found.get(page.key) is page:
                self._idle[page.key] = page
                self.pool.move(page.start, self._shared)
            else:
                self._gone(page)

    def report(self) -> dict[str, int]:
        """As JSON: how many pages there are; bytes of each tier in the pool; of those that several hold, or nobody any more."""
        return {"pages": self.pages, **self._sizes, "shared": self._shared.bytes, "idle": len(self._idle)}

    def forget(self) -> None:
        """Lets go of the pages that nobody holds."""
        while self._idle:
            self._gone(self._idle.popitem(last=False)[1])

    def close(self) -> None:
        """It is done with: nothing of it is left in the pool but what sequences hold."""
        self.forget()
        self.pool.drop(self._shared)

    def _shrink(self) -> bool:
        self.forget()
        return True

    def name(self, page: Page, chain: bytes, rotated: bool) -> None:
        """Lets a full page be found; the first of its key is."""
        if page.key is None and page.layout.size:
            key = (chain, page.layout, rotated)
            if self._found.setdefault(key, page) is page:
                page.key = key

    def unname(self, page: Page) -> None:
        """It will hold something else."""
        if page.key is not None and self._found.get(page.key) is page:
            del self._found[page.key]
        page.key = None

    def find(self, chain: bytes, layout: Layout, rotated: bool) -> Page | None:
        return self._found.get((chain, layout, rotated))

    def copy(self, page: Page, holding: Holding) -> Page:
        """A page of its own for who wants to write to a shared one."""
        made = self.new(page.layout, holding)
        self.view(made)[:] = self.view(page)
        return made

    def view(self, page: Page) -> np.ndarray:
        """(bytes,) uint8"""
        return self.pool.view(page.start, page.layout.size)

    def quantized(self, pages: Sequence[Page], layout: Layout, holding: Holding, *, evict: bool = True) -> list[Page]:
        """The same numbers in another layout; pages: of float16."""
        made = self.some(layout, len(pages), holding, evict=evict)
        source, target = self._table(pages), self._table(made)
        for layer in self.form.attention:
            if layout.kinds[layer] == "f16":
                self._copied(layer, pages, made)
                continue
            keys_at, values_at = layout.places[layer]
            source_keys, source_values = self.plain.places[layer]
            self.kernels.run(
                f"kv_quantize_{layout.kinds[layer]}", source=self.pool.array, source_pages=source, pool=self.pool.array, pages=target,
                n=len(pages), source_count=len(self.pool.array), source_stride=UNIT, source_keys_at=source_keys,
                source_values_at=source_values, keys_at=keys_at, values_at=values_at, **self._where(layer),
            )  # fmt: skip
        return made

    def plainly(self, pages: Sequence[Page], holding: Holding, *, turn: bool = False) -> list[Page]:
        """The same numbers in float16, as near as their layout has them. turn: rotated, which undoes a rotation too."""
        made = self.some(self.plain, len(pages), holding)
        for first, second in zip(pages, made, strict=True):  # one at a time: the scratch stays small
            for layer in self.form.attention:
                self._widened(layer, first, second, turn)
        return made

    def _widened(self, layer: int, page: Page, made: Page, turn: bool) -> None:
        heads, dim, kind = self.form.kv_heads[layer], self.form.dim, page.layout.kinds[layer]
        k, v = (self.kernels.empty((1, PAGE, heads, dim), np.float32) for _ in range(2))
        shape = {**self._where(layer), "pages": 1}
        keys_at, values_at = page.layout.places[layer]
        place = {"pool": self.pool.array, "table": self._table([page]), "keys_at": keys_at, "values_at": values_at}
        self.kernels.run(f"kv_dequantize_{kind}", k=k, v=v, **place, **shape)
        for each in (k, v) if turn else ():
            self.kernels.run("hadamard", x=each, rows=PAGE * heads, dim=dim)
        keys_at, values_at = made.layout.places[layer]
        place = {"pool": self.pool.array, "table": self._table([made]), "keys_at": keys_at, "values_at": values_at}
        self.kernels.run("kv_write_f16", k=k, v=v, tokens=PAGE, position=0, **place, **shape)

    def _copied(self, layer: int, pages: Sequence[Page], made: Sequence[Page]) -> None:
        for first, second in zip(pages, made, strict=True):
            size = 4 * self.form.kv_heads[layer] * self.form.dim * PAGE
            at, to = first.layout.places[layer][0], second.layout.places[layer][0]
            self.view(second)[to : to + size] = self.view(first)[at : at + size]

    def _where(self, layer: int) -> dict[str, int]:
        return {"kv_heads": self.form.kv_heads[layer], "dim": self.form.dim, "page": PAGE, "count": len(self.pool.array), "stride": UNIT}

    def _table(self, pages: Sequence[Page]) -> np.ndarray:
        table = self.kernels.empty(len(pages), np.int32)
        table[...] = [page.place for page in pages]
        return table

    def _gone(self, page: Page) -> None:
        self.unname(page)
        if page.layout.size:
            self.pool.give(page.start)
            self._count(page, -1)

    def _count(self, page: Page, more: int) -> None:
        self.pages += more
        self._sizes["exact" if page.layout == self.plain else "old"] += more * rounded(page.layout.size)
