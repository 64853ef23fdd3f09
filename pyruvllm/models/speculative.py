"""Guesses of what comes next, which the model checks many at once: reading several tokens costs little more than reading one.

Speculative decoding: Leviathan, Kalman and Matias 2023 (arXiv:2211.17192); Chen et al. 2023 (arXiv:2302.01318). Guesses from the text
itself: Saxena 2023, prompt lookup decoding. Here a guess counts where it is the very token that the sampler draws at that place, and
draws depend on seed, place and token alone (models/sampling.py): so the text with guesses is the text without them, whoever guesses, and a
draft model that draws with the same noise agrees about as often as with rejection sampling (Daliri, Musco and Suresh 2024,
arXiv:2408.07978).

Guessing stops by itself where it does not pay, by the times measured here and the share of guesses that were right.
"""

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Protocol

import numpy as np

from ..config import Clock
from ..errors import CacheError
from .speaker import GUESSED, Pace, Speaker
from .tokenizer import Vocabulary

LEAST, MOST = 2, GUESSED - 1  # guesses in a round
PAYS = 1.05  # times the speed without: less is not worth it
REST = 64  # tokens without guesses after it did not pay; twice as many each time again
LONGEST = 1024
FADING = 0.9  # weight of the rounds before the last one, each
TICK_MS = 0.01  # a browser's clock stands still for longer than a small model reads
STEEP = 0.2  # cost of one token more in units of the first, until it was measured
ANSWER = 128  # tokens of a text, until some were said

Choose = Callable[[np.ndarray, list[int]], int | None]  # by logits, after those guessed before; None: nothing to guess


@dataclass(frozen=True)
class Drafts:
    """How a drafter did. accepted: of those drafted; off: why it rests, None while it does not."""

    name: str
    drafted: int
    accepted: int
    rounds: int
    lookahead: int  # guesses that the next round would ask for; 0 while it rests
    off: str | None = None

    def __str__(self) -> str:
        share = f"{self.accepted} of {self.drafted} guesses were right" if self.drafted else "no guesses"
        return f"{self.name}: {share}" + (f"; it rests, since {self.off}" if self.off else "")


class Drafter(Protocol):
    name: str

    def begin(self) -> None:
        """A new text."""

    def behind(self, ids: Sequence[int]) -> int:
        """Tokens that it has to read before it can guess what follows these."""

    async def draft(self, ids: Sequence[int], count: int, choose: Choose, pace: Pace) -> list[int]:
        """At most count tokens that may follow ids; none where it has no idea."""


class PromptLookup:
    """Where the last tokens were there before, what followed them then. sizes: of the runs that are looked for, the longest first."""

    name = "prompt look-up"

    def __init__(self, sizes: Sequence[int] = (4, 3, 2)) -> None:
        self._sizes = tuple(sizes)
        self.begin()

    def begin(self) -> None:
        self._after: dict[tuple[int, ...], int] = {}  # of a run: where the token after it last stood
        self._known = 0  # tokens whose runs are there

    def behind(self, ids: Sequence[int]) -> int:
        return 0

    async def draft(self, ids: Sequence[int], count: int, choose: Choose, pace: Pace) -> list[int]:
        for end in range(self._known, len(ids)):  # runs that end before the last token
            for size in self._sizes:
                if size <= end:
                    self._after[tuple(ids[end - size : end])] = end
        self._known = len(ids)
        for size in self._sizes:
            at = self._after.get(tuple(ids[-size:])) if size <= len(ids) else None
            if at is not None:
                found = list(ids[at : at + count])
                while len(found) < count:  # what repeats goes on repeating
                    found.append(found[len(found) - (len(ids) - at)])
                return found
        return []


class DraftModel:
    """A smaller model with the same tokens, at work on the same text."""

    def __init__(self, speaker: Speaker, name: str = "draft model") -> None:
        self.name, self._speaker = name, speaker

    def begin(self) -> None:
        pass

    def behind(self, ids: Sequence[int]) -> int:
        history = self._speaker.history
        shared = min(len(history), len(ids) - 1)
        if list(history[:shared]) == list(ids[:shared]):  # as in every round but the first of a text
            return len(ids) - shared
        return len(ids) - next(at for at, (one, other) in enumerate(zip(history, ids, strict=False)) if one != other)

    async def draft(self, ids: Sequence[int], count: int, choose: Choose, pace: Pace) -> list[int]:
        speaker = self._speaker
        if len(ids) + count > speaker.context:
            return []
        known = len(ids) - self.behind(ids)
        guessed: list[int] = []
        try:
            speaker.rewind(known)
            logits = await speaker.read(ids[known:], pace)
            while (id := choose(logits[0], guessed)) is not None:
                guessed.append(id)
                if len(guessed) == count:
                    break
                logits = await speaker.read([id], pace)
        except CacheError:  # it has no room beside the conversations: the answer goes on with what there is
            pass
        return guessed


class Guesser:
    """drafters: asked in this order, until one has an idea. It may be kept from text to text: what it measured holds on."""

    def __init__(self, drafters: Iterable[Drafter], clock: Clock) -> None:
        self.waited = 0.0  # ms that others had, which are no cost of ours
        self._now = clock.elapsed_ms
        self._records = [_Record(drafter) for drafter in drafters]
        self._asked: _Record | None = None  # whose guesses are being checked
        self._times: dict[int, deque[float]] = {}  # ms of reading so many tokens, lately
        self._lengths: deque[int] = deque(maxlen=7)  # tokens of the last texts
        self._from = self._at = 0  # tokens there were when this one began, and are

    def begin(self) -> None:
        """A new text: counts begin anew, costs and shares do not."""
        if self._at > self._from:
            self._lengths.append(self._at - self._from)
        self._from = self._at = 0
        for record in self._records:
            record.begin()

    def told(self) -> tuple[Drafts, ...]:
        return tuple(record.told(self._worth(record)[1]) for record in self._records)

    async def guess(self, ids: Sequence[int], room: int, choose: Choose, pace: Pace) -> list[int]:
        """At most room tokens."""
        self._asked = None
        self._from, self._at = self._from or len(ids), len(ids)
        for record in self._records:
            count = min(self._count(record), room)
            if count < 1:
                continue
            behind = record.drafter.behind(ids)
            if why := self._late(record, behind, room):
                record.put_off(why)
                continue
            begun, waited = self._now(), self.waited
            drafts = await record.drafter.draft(ids, count, choose, pace)
            if drafts:
                record.took(behind, len(drafts), self._now() - begun - (self.waited - waited))
                self._asked = record
                return drafts
        return []

    def took(self, tokens: int, ms: float) -> None:
        """Reading so many at once took so long."""
        self._times.setdefault(tokens, deque(maxlen=7)).append(max(ms, TICK_MS))

    def judged(self, drafted: int, accepted: int) -> None:
        """How many of the last guesses were right."""
        if self._asked is not None and drafted:
            self._asked.judged(drafted, accepted)
            self._asked = None

    def _late(self, record: "_Record", behind: int, room: int) -> str | None:
        """Why it is not worth it that it reads so much first; None where it is. A text is as long as others, or as what there is of it."""
        if behind <= MOST:
            return None
        there = self._at - self._from
        left = min(room, max(there, (median(self._lengths) if self._lengths else ANSWER) - there))
        takes, saves = behind * record.reading, left * self._cost(1) * max(0.0, 1 - 1 / self._worth(record)[0])
        if takes <= saves:
            return None
        return f"it would read {behind} tokens first, in {takes / 1000:.2g} s, and save {saves / 1000:.2g} s"

    def _count(self, record: "_Record") -> int:
        """Guesses to ask of it."""
        if record.rest:
            record.rest -= 1
            if not record.rest:
                record.try_again()
            return 0
        if len(self._times.get(1, ())) < 2:  # what it costs without has to be known first
            return 0
        gain, count = self._worth(record)
        if gain < PAYS and record.rounds_judged >= 2:
            record.give_up(self._why(record, count, gain))
            return 0
        return count

    def _worth(self, record: "_Record") -> tuple[float, int]:
        """(times the speed without guesses, with how many of them): the best."""
        if record.rest:
            return 0.0, 0
        gain, fewer = max((self._gain(record, count), -count) for count in range(LEAST, MOST + 1))
        return gain, -fewer

    def _gain(self, record: "_Record", count: int) -> float:
        tokens = sum(record.share**place for place in range(count + 1))
        return tokens * self._cost(1) / (self._cost(1 + count) + count * record.cost)

    def _cost(self, tokens: int) -> float:
        """Of reading so many at once, ms."""
        if tokens in self._times and (tokens == 1 or len(self._times[tokens]) > 1):  # the first of a kind may have been warming up
            return median(self._times[tokens])
        one = median(self._times[1]) if 1 in self._times else 1.0
        known = [(abs(each - tokens), each) for each, times in self._times.items() if each > 1 and len(times) > 1]
        if not known:
            return one * (1 + STEEP * (tokens - 1))
        near = min(known)[1]
        return max(one, one + (median(self._times[near]) - one) * (tokens - 1) / (near - 1))

    def _why(self, record: "_Record", count: int, gain: float) -> str:
        ratio = (self._cost(1 + count) + count * record.cost) / self._cost(1)
        return f"{count} guesses cost {ratio:.2f} x a token and {record.share:.0%} of them are right: {gain:.2f} x the speed without"


class _Record:
    """What is known of one drafter."""

    def __init__(self, drafter: Drafter) -> None:
        self.drafter = drafter
        self.rest, self._pause = 0, REST
        self.rounds_judged = 0
        self.off: str | None = None
        self.late: str | None = None  # why it does not read what there is of this text
        self.times: deque[float] = deque(maxlen=7)  # ms a guess
        self.reading = 0.0  # ms a token that it read before its first guess
        self._right, self._wrong = 0.0, 0.0  # faded counts; a round that was right throughout has none wrong
        self._drafted = self._accepted = self._rounds = 0

    @property
    def share(self) -> float:
        """Of guesses that are right where those before were; what is not known is hoped for."""
        return (self._right + 1.5) / (self._right + self._wrong + 2)

    @property
    def cost(self) -> float:
        return median(self.times) if len(self.times) > 1 else 0.0

    def begin(self) -> None:
        self.drafter.begin()
        if self.late:
            self.late, self.rest = None, 0
        self._drafted = self._accepted = self._rounds = 0

    def took(self, behind: int, guesses: int, ms: float) -> None:
        if behind <= MOST:  # as after any round
            self.times.append(ms / guesses)
        else:
            self.reading = max(0.0, ms - guesses * self.cost) / behind

    def judged(self, drafted: int, accepted: int) -> None:
        self._drafted, self._accepted, self._rounds = self._drafted + drafted, self._accepted + accepted, self._rounds + 1
        self.rounds_judged += 1
        self._right = FADING * self._right + accepted
        self._wrong = FADING * self._wrong + (accepted < drafted)
        if accepted == drafted:
            self._pause = REST

    def give_up(self, why: str) -> None:
        self.off, self.rest = why, self._pause
        self._pause = min(2 * self._pause, LONGEST)

    def put_off(self, why: str) -> None:
        self.late, self.rest = why, REST

    def try_again(self) -> None:
        """What was learned before counts little from here on, unless it was only late."""
        if self.late:
            self.late = None
            return
        self.off, self.rounds_judged = None, 0
        self._right, self._wrong = self._right / 4, self._wrong / 4

    def told(self, lookahead: int) -> Drafts:
        return Drafts(self.drafter.name, self._drafted, self._accepted, self._rounds, lookahead, self.late or self.off)


def same_tokens(one: Vocabulary, other: Vocabulary) -> bool:
    """Whether a model with one can guess for a model with the other."""
    return one is other or (one.ends == other.ends and one.tokens == other.tokens)


def unlike(name: str, one: Vocabulary, target: str, other: Vocabulary) -> str:
    """Why a model cannot guess for another, in words."""
    apart = next((at for at, (mine, its) in enumerate(zip(one.tokens, other.tokens, strict=False)) if mine != its), None)
    how = f"it has {len(one)} tokens and {target} {len(other)}"
    if len(one) == len(other):
        how = (
            f"token {apart} is {one.tokens[apart]!r} and not {other.tokens[apart]!r}" if apart is not None else "other tokens end its texts"
        )
    return f"{name} cannot guess for {target}: {how}. A smaller model of the same family would be right"
