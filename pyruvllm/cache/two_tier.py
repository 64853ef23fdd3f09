"""The keys and values of sequences, in two tiers: the newest tokens in float16, older ones quantised; and the state of convolutions.

    cache = KvCache(form, pool, kernels)
    sequence = cache.open()                      # or of a prompt: with the pages that are known of it
    cache.reserve(sequence, 3)                   # before keys and values are written
    cache.advance(sequence, [17, 4, 2])          # after it: what became old is quantised, 64 tokens at a time

Pages are shared between sequences that begin with the same tokens, and copied before they are written to.
"""

from collections.abc import Callable
from collections.abc import Sequence as Many
from dataclasses import replace
from math import inf

import numpy as np

from ..errors import CacheError, ConfigError, MismatchError
from ..kernels.registry import KernelRegistry
from .layout import PAGE, Form, Layout
from .pages import Page, PageStore, chained
from .pool import Holding, Pool
from .quantize import BATCH, Setting


class Sequence:
    """tokens: all whose keys and values are in; old: pages of the first ones, in the setting's layout; tail: pages of float16 of the
    others. state: (layers, columns, channels) float32, of the convolutions after ``state_at`` tokens.
    """

    def __init__(self, setting: Setting, layout: Layout, holding: Holding, identity: bytes) -> None:
        self.setting, self.layout, self.holding = setting, layout, holding
        self.tokens: list[int] = []
        self.old: list[Page] = []
        self.tail: list[Page] = []
        self.state: np.ndarray = np.zeros((0, 0, 0), np.float32)
        self.state_at = 0
        self.changes = 0  # of its pages: tables are made anew
        self.released = False
        self._start: int | None = None  # of the state, in the pool
        self._chain = [identity]  # keys of the full pages, behind what all of them follow

    def __len__(self) -> int:
        return len(self.tokens)

    @property
    def identity(self) -> bytes:
        """Of model and adapter."""
        return self._chain[0]

    @property
    def old_tokens(self) -> int:
        return PAGE * len(self.old)

    @property
    def nbytes(self) -> int:
        """Of its pages and its state, shared ones too."""
        return sum(page.layout.size for page in (*self.old, *self.tail)) + self.state.nbytes

    def key(self, page: int) -> bytes:
        """Of its page of that number, which is full."""
        return self._chain[page + 1]


class KvCache:
    """identity: of model and adapter: pages are found by tokens only where it is the same."""

    def __init__(self, form: Form, pool: Pool, kernels: KernelRegistry, setting: Setting | None = None, identity: bytes = b"") -> None:
        self.form, self.pool, self.kernels, self.identity = form, pool, kernels, identity
        self.store = PageStore(form, pool, kernels)
        self.setting = setting or Setting()

    @property
    def plain(self) -> Layout:
        return self.store.plain

    def open(
        self,
        tokens: Many[int] = (),
        setting: Setting | None = None,
        *,
        name: str = "",
        priority: float = 0.5,
        identity: bytes | None = None,
    ) -> Sequence:
        """A sequence with the known pages of these tokens, all but the last one at most; without any it is empty.

        Raises PoolFullError, ConfigError for a rotation of heads whose size is no power of two.
        """
        setting = setting or self.setting
        if setting.rotate and self.form.dim & (self.form.dim - 1):
            raise ConfigError(f"heads of {self.form.dim} numbers cannot be rotated; a power of two could be")
        holding = self.pool.hold("kv", name, priority=priority)
        sequence = Sequence(setting, setting.layout(self.form), holding, self.identity if identity is None else identity)
        try:
            self._give_state(sequence)
        except BaseException:
            self.pool.drop(holding)
            raise
        if len(tokens) > PAGE:
            self._adopt(sequence, tokens)
        return sequence

    def fork(self, sequence: Sequence, *, name: str = "", priority: float = 0.5) -> Sequence:
        """Another sequence that goes on from here; pages are shared until one of the two writes to them."""
        self._usable(sequence)
        before, sequence.holding.pinned_until = sequence.holding.pinned_until, inf  # else it may be what makes room for the other
        try:
            other = self.open(setting=sequence.setting, name=name, priority=priority, identity=sequence.identity)
        finally:
            sequence.holding.pinned_until = before
        other.tokens, other._chain = list(sequence.tokens), list(sequence._chain)
        other.old = [self.store.share(page) for page in sequence.old]
        other.tail = [self.store.share(page) for page in sequence.tail]
        other.state[...] = sequence.state
        other.state_at = sequence.state_at
        return other

    def restore(self, sequence: Sequence, tokens: Many[int], pages: Many[tuple[str, Callable[[], bytes]]], state: bytes) -> None:
        """Fills an empty sequence with what was saved of one in the same setting: of each page its tier and what reads its bytes, which
        is not asked where the page is known. MismatchError where these are no pages of those tokens, PoolFullError.
        """
        self._usable(sequence)
        if len(pages) != -(-len(tokens) // PAGE) or len(state) != sequence.state.nbytes:
            raise MismatchError(f"{len(pages)} pages and {len(state)} bytes of state were saved for {len(tokens)} tokens")
        chain = sequence.identity
        for number, (tier, read) in enumerate(pages):
            layout, into = (sequence.layout, sequence.old) if tier == "old" else (self.plain, sequence.tail)
            part = tokens[number * PAGE : (number + 1) * PAGE]
            chain = chained(chain, part)
            page = self.store.find(chain, layout, sequence.setting.rotate) if len(part) == PAGE else None
            content = b"" if page is not None else read()
            if page is not None:
                self.store.share(page)
            elif len(content) != layout.size or (tier == "old" and (sequence.tail or len(part) < PAGE)):
                raise MismatchError(f"page {number} of the tier {tier!r} has {len(content)} bytes; {layout.size} would be right")
            else:
                page = self.store.new(layout, sequence.holding)
                self.store.view(page)[:] = np.frombuffer(content, np.uint8)
            into.append(page)
        sequence.tokens = [int(token) for token in tokens]
        sequence.state[...] = np.frombuffer(state, np.float32).reshape(sequence.state.shape)
        sequence.state_at = len(sequence)
        sequence.changes += 1
        self._name(sequence)

    def release(self, sequence: Sequence, *, keep: bool = False) -> None:
        """Gives all of it back. keep: full pages may be found again for as long as there is room."""
        if sequence.released:
            return
        sequence.released = True
        self.store.free([*sequence.old, *sequence.tail], keep=keep)
        sequence.old, sequence.tail, sequence.state = [], [], np.zeros((0, 0, 0), np.float32)
        if sequence._start is not None:
            self.pool.give(sequence._start)
        self.pool.drop(sequence.holding)

    def reserve(self, sequence: Sequence, count: int) -> None:
        """Makes sure that keys and values of that many further tokens can be written. PoolFullError, PersistError: nothing changed."""
        self._usable(sequence)
        length, first = len(sequence), len(sequence) - sequence.old_tokens
        if first % PAGE and sequence.tail[first // PAGE].refs > 1:
            own = self.store.copy(sequence.tail[first // PAGE], sequence.holding)
            self.store.free([sequence.tail[first // PAGE]])
            sequence.tail[first // PAGE] = own
            sequence.changes += 1
        elif first % PAGE:
            self.store.unname(sequence.tail[first // PAGE])  # it was full before tokens were taken back
        missing = -(-(length + count) // PAGE) - len(sequence.old) - len(sequence.tail)
        if missing > 0:
            sequence.tail += self.store.some(self.plain, missing, sequence.holding)
            sequence.changes += 1

    def advance(self, sequence: Sequence, tokens: Many[int]) -> None:
        """These were written. What became old is quantised, where there is room to."""
        sequence.tokens += map(int, tokens)
        if tokens:
            sequence.state_at = len(sequence)
        self._name(sequence)
        while sequence.setting.old != "f16" and len(sequence) - sequence.old_tokens >= sequence.setting.tail + BATCH:
            try:
                self._migrate(sequence, BATCH // PAGE)
            except CacheError:
                return  # it stays float16 until there is room

    def truncate(self, sequence: Sequence, length: int) -> None:
        """Takes the last tokens back, so that ``length`` are left. The state of convolutions is not of that length then, unless the
        caller sets it (``state``, ``state_at``). ConfigError, PoolFullError.
        """
        self._usable(sequence)
        if not 0 <= length <= len(sequence):
            raise ConfigError(f"length is {length}; 0 to {len(sequence)} would be right")
        if length < sequence.old_tokens and length % PAGE:
            opened = self.store.plainly([sequence.old[length // PAGE]], sequence.holding)
            kept, gone = sequence.old[: length // PAGE], sequence.old[length // PAGE :] + sequence.tail
            sequence.old, sequence.tail = kept, opened
        elif length < sequence.old_tokens:
            gone = sequence.old[length // PAGE :] + sequence.tail
            sequence.old, sequence.tail = sequence.old[: length // PAGE], []
        else:
            pages = -(-(length - sequence.old_tokens) // PAGE)
            gone = sequence.tail[pages:]
            del sequence.tail[pages:]
        self.store.free(gone, keep=True)
        del sequence.tokens[length:]
        del sequence._chain[length // PAGE + 1 :]
        if not length:
            sequence.state[...] = 0
            sequence.state_at = 0
        sequence.changes += 1

    def demote(self, sequence: Sequence) -> bool:
        """Quantises all its full pages; whether there were any. PoolFullError: as far as there was room. Nothing is evicted for it."""
        if sequence.setting.old == "f16":
            if sequence.old:
                return False
            sequence.setting = replace(sequence.setting, old="q8")
            sequence.layout = sequence.setting.layout(self.form)
        did = False
        while (full := (len(sequence) - sequence.old_tokens) // PAGE) > 0:
            self._migrate(sequence, min(full, BATCH // PAGE), evict=False)
            did = True
        return did

    def change(self, sequence: Sequence, setting: Setting) -> None:
        """Another setting for the tokens that are there and those to come: converted, not computed anew. Numbers that were quantised
        keep what they lost. PoolFullError: then it is as before.
        """
        self._usable(sequence)
        layout = setting.layout(self.form)
        turn = setting.rotate != sequence.setting.rotate
        old, tail, plain = sequence.old, sequence.tail, self.plain
        made: list[Page] = []
        try:
            if turn:
                tail = self.store.plainly(sequence.tail, sequence.holding, turn=True)
                made += tail
            if turn or layout != sequence.layout:
                old = []
                for page in sequence.old:
                    old += self._converted(page, layout, sequence.holding, turn)
                    made.append(old[-1])
        except BaseException:
            self.store.free(made)
            raise
        self.store.free([page for page in sequence.old if page not in old] + (sequence.tail if turn else []))
        sequence.old, sequence.tail = ([], old + tail) if layout == plain else (old, tail)
        sequence.setting, sequence.layout = setting, layout
        sequence.changes += 1
        self._name(sequence, anew=True)
        self.advance(sequence, ())

    def _converted(self, page: Page, layout: Layout, holding: Holding, turn: bool) -> list[Page]:
        between = self.store.plainly([page], holding, turn=turn)
        if layout == self.plain:
            return between
        try:
            return self.store.quantized(between, layout, holding)
        finally:
            self.store.free(between)

    def _migrate(self, sequence: Sequence, count: int, evict: bool = True) -> None:
        """The first pages of the tail become old."""
        first, pages = len(sequence.old), sequence.tail[:count]
        known = [self.store.find(sequence.key(first + i), sequence.layout, sequence.setting.rotate) for i in range(count)]
        known = [there and self.store.share(there) for there in known]  # before room is made, which idle pages give way to
        missing = [page for page, there in zip(pages, known, strict=True) if there is None]
        try:
            made = iter(self.store.quantized(missing, sequence.layout, sequence.holding, evict=evict) if missing else [])
        except BaseException:
            self.store.free([there for there in known if there is not None], keep=True)
            raise
        sequence.old += [there or next(made) for there in known]
        del sequence.tail[:count]
        self.store.free(pages)
        sequence.changes += 1
        self._name(sequence, first)

    def _adopt(self, sequence: Sequence, tokens: Many[int]) -> None:
        """Takes known pages of the beginning, as long as each follows the one before."""
        rotated, layout = sequence.setting.rotate, sequence.layout
        for at in range(0, (len(tokens) - 1) // PAGE * PAGE, PAGE):
            key = chained(sequence._chain[-1], tokens[at : at + PAGE])
            page = None if sequence.tail else self.store.find(key, layout, rotated)
            target = sequence.old if page is not None and layout != self.plain else sequence.tail
            page = page or self.store.find(key, self.plain, rotated)
            if page is None:
                break
            target.append(self.store.share(page))
            sequence._chain.append(key)
            sequence.tokens += map(int, tokens[at : at + PAGE])
        sequence.changes += 1

    def _name(self, sequence: Sequence, first: int | None = None, anew: bool = False) -> None:
        """Lets its full pages be found."""
        known = len(sequence._chain) - 1
        for page in range(known, len(sequence) // PAGE):
            sequence._chain.append(chained(sequence._chain[-1], sequence.tokens[page * PAGE : (page + 1) * PAGE]))
        pages = (*sequence.old, *sequence.tail)
        for number in range(0 if anew else known if first is None else first, len(sequence) // PAGE):
            self.store.name(pages[number], sequence.key(number), sequence.setting.rotate)

    def _give_state(self, sequence: Sequence) -> None:
        size = 4 * int(np.prod(self.form.states))
        if size:
            sequence._start = self.pool.take(sequence.holding, size)
            sequence.state = self.pool.view(sequence._start, size).view(np.float32).reshape(self.form.states)
            sequence.state[...] = 0

    def _usable(self, sequence: Sequence) -> None:
        if sequence.released:
            raise CacheError(f"the cache of {sequence.holding.name or 'this sequence'!r} was given back; resume it from where it was saved")
