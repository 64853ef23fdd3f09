"""What is left out where a text does not fit a model's context.

The first tokens stay, because instructions stand there and because attention leans on them (Xiao et al. 2023, arXiv:2309.17453), and so
do the newest. What stays is read anew, so that positions have no gap.
"""

from collections.abc import Sequence

OVERFLOWS = ("error", "truncate", "shift")
FIRST = 0.25  # of the tokens that stay: from the beginning


def fitted(ids: Sequence[int], room: int) -> list[int]:
    """At most ``room`` of them, at least one: the first and the last, without those in the middle."""
    room = max(room, 1)
    if len(ids) <= room:
        return list(ids)
    first = int(room * FIRST)
    return [*ids[:first], *ids[len(ids) - (room - first) :]]
