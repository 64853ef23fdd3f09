"""Numbers of JSON, and those between bounds, digit by digit."""

from collections.abc import Mapping
from decimal import Decimal

from .expression import Grammar, Node

WHOLE, FRACTION = 18, 16  # digits at most
ZERO, NINE = ord("0"), ord("9")


def integer(grammar: Grammar) -> Node:
    return grammar.seq(grammar.maybe(grammar.literal(b"-")), _whole(grammar))


def number(grammar: Grammar) -> Node:
    exponent = grammar.seq(grammar.any_of(b"eE"), grammar.maybe(grammar.any_of(b"+-")), grammar.many(_digit(grammar), 1, 2))
    return grammar.seq(integer(grammar), grammar.maybe(_fraction(grammar)), grammar.maybe(exponent))


def bounded(grammar: Grammar, bounds: Mapping[str, float], whole: bool) -> Node:
    """Without exponents. bounds: JSON Schema's four keywords."""
    found = grammar.seq(integer(grammar), grammar.empty if whole else grammar.maybe(_fraction(grammar)))
    for name, value in bounds.items():
        limit, strict = Decimal(str(value)), name.startswith("exclusive")
        up = name.lower().endswith("minimum")  # a mirror makes one bound of the other
        found = grammar.both(found, _beyond(grammar, limit if up else -limit, strict, up, whole))
    return found


def _beyond(grammar: Grammar, limit: Decimal, strict: bool, up: bool, whole: bool) -> Node:
    """Numbers x with x >= limit where up, else with -x >= limit; or > where strict."""
    minus = grammar.literal(b"-")
    far, near = (grammar.empty, minus) if up else (minus, grammar.empty)  # signs of what lies beyond and of what lies before zero
    amount, less = abs(limit), limit < 0
    digits = _digits_of(amount)
    if less or (limit == 0 and not strict):
        zero = grammar.seq(near, _compared(grammar, digits, whole, larger=False, equal=not strict))
        return grammar.alt(grammar.seq(far, _any(grammar, whole)), zero)
    return grammar.seq(far, _compared(grammar, digits, whole, larger=True, equal=not strict))


def _digits_of(amount: Decimal) -> tuple[str, str]:
    text = format(amount, "f")
    head, _, tail = text.partition(".")
    return head.lstrip("0") or "0", tail.rstrip("0")


def _compared(grammar: Grammar, digits: tuple[str, str], whole: bool, larger: bool, equal: bool) -> Node:
    """Amounts, written without a sign, that are larger or smaller than digits, or equal."""
    head, tail = digits
    size, found = len(head), []
    rest = grammar.empty if whole else grammar.maybe(_fraction(grammar))
    nonzero, digit = grammar.span(ZERO + 1, NINE), _digit(grammar)
    if larger and size < WHOLE:
        found.append(grammar.seq(nonzero, grammar.many(digit, 0 if head == "0" else size, WHOLE - 1), rest))
    if not larger and size > 1:
        found.append(grammar.seq(grammar.alt(grammar.literal(b"0"), grammar.seq(nonzero, grammar.many(digit, 0, size - 2))), rest))
    for place, value in enumerate(map(int, head)):
        low, high = (value + 1, 9) if larger else (1 if place == 0 and size > 1 else 0, value - 1)
        if low <= high and not (larger and head == "0"):
            same, other = grammar.literal(head[:place].encode()), grammar.span(ZERO + low, ZERO + high)
            left = size - place - 1
            found.append(grammar.seq(same, other, grammar.many(digit, left, left), rest))
    found.append(grammar.seq(grammar.literal(head.encode()), _tail(grammar, tail, whole, larger, equal)))
    return grammar.alt(*found)


def _tail(grammar: Grammar, tail: str, whole: bool, larger: bool, equal: bool) -> Node:
    """What follows a whole part that is the same: fractions that make it larger, smaller or equal."""
    if whole:
        return grammar.empty if (not tail and equal) or (tail and not larger) else grammar.none
    digit, found = _digit(grammar), []
    most = max(FRACTION, len(tail) + 1)

    def any_after(count: int) -> Node:
        return grammar.many(digit, 0, most - count)

    zeros = grammar.many(grammar.literal(b"0"), 0, most - len(tail))
    for place, value in enumerate(map(int, tail)):
        low, high = (value + 1, 9) if larger else (0, value - 1)
        if low <= high:
            found.append(grammar.seq(grammar.literal(tail[:place].encode()), grammar.span(ZERO + low, ZERO + high), any_after(place + 1)))
        if not larger and place:  # it ends before the limit does
            found.append(grammar.literal(tail[:place].encode()))
    if equal and tail:
        found.append(grammar.seq(grammar.literal(tail.encode()), zeros))
    if larger:
        after = grammar.seq(grammar.many(grammar.literal(b"0"), 0, most - len(tail) - 1), grammar.span(ZERO + 1, NINE), any_after(1))
        found.append(grammar.seq(grammar.literal(tail.encode()), after))
    dotted = [grammar.seq(grammar.literal(b"."), each) for each in found]
    if equal and not tail:
        dotted.append(grammar.seq(grammar.literal(b"."), grammar.many(grammar.literal(b"0"), 1, most)))
    none = grammar.empty if (equal and not tail) or (tail and not larger) else grammar.none
    return grammar.alt(none, *dotted)


def _any(grammar: Grammar, whole: bool) -> Node:
    return grammar.seq(_whole(grammar), grammar.empty if whole else grammar.maybe(_fraction(grammar)))


def _whole(grammar: Grammar) -> Node:
    return grammar.alt(grammar.literal(b"0"), grammar.seq(grammar.span(ZERO + 1, NINE), grammar.many(_digit(grammar), 0, WHOLE - 1)))


def _fraction(grammar: Grammar) -> Node:
    return grammar.seq(grammar.literal(b"."), grammar.many(_digit(grammar), 1, FRACTION))


def _digit(grammar: Grammar) -> Node:
    return grammar.span(ZERO, NINE)
