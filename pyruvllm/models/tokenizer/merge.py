"""Merging neighbours, best pair first: what byte-level BPE and SentencePiece's BPE have in common.

Sennrich, Haddow and Birch, Neural machine translation of rare words with subword units, ACL 2016.
"""

from collections.abc import Callable, Sequence
from heapq import heapify, heappop, heappush

Rank = Callable[[str, str], float | None]  # of a pair of neighbours, lower is merged first; None: they are not merged


def merged(symbols: Sequence[str], rank: Rank) -> list[str]:
    """Symbols after all merges; of pairs of one rank the leftmost comes first. O(n log n)."""
    parts: list[str | None] = list(symbols)
    after, before = list(range(1, len(parts) + 1)), list(range(-1, len(parts) - 1))
    waiting = [
        (value, at, parts[at], parts[at + 1]) for at in range(len(parts) - 1) if (value := rank(symbols[at], symbols[at + 1])) is not None
    ]
    heapify(waiting)

    def offer(left: int) -> None:
        right = after[left]
        if right < len(parts) and (value := rank(parts[left], parts[right])) is not None:  # type: ignore[arg-type]
            heappush(waiting, (value, left, parts[left], parts[right]))

    while waiting:
        _, left, one, other = heappop(waiting)
        right = after[left]
        if parts[left] != one or right >= len(parts) or parts[right] != other:
            continue  # one of them was merged with somebody else meanwhile
        parts[left], parts[right] = one + other, None  # type: ignore[operator]
        after[left] = after[right]
        if after[left] < len(parts):
            before[after[left]] = left
        offer(left)
        if before[left] >= 0:
            offer(before[left])
    return [part for part in parts if part is not None]
