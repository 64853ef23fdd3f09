"""Examples as tokens to learn from: what counts how much, and where in the passages an answer's tokens are copied from."""

from collections.abc import Sequence

from examples import Example
from tokenizers import Encoding, Tokenizer
from vocabulary import BOS, END, prompt

QUESTION = 0.4  # weight of a token of the question's second saying


def encoded(tokenizer: Tokenizer, asked: Sequence[Example]) -> list[tuple[int, float, list[int]]]:
    """Tokens, their weights, and the places in the passages that those of an answer are copied from. Further questions about the same
    passages follow the first one's answer: more to learn from a text.
    """
    text = [(BOS, 0.0, [])]
    for place, example in enumerate(asked):
        before = prompt(example.question, example.passages if place == 0 else ())
        written = tokenizer.encode(before)
        if place == 0:
            given, starts = written, numbered(before, example.passages)
        again = len(tokenizer.encode(before[before.rindex("Question:") :]).ids) if place == 0 and example.passages else 0
        text += [(id, QUESTION if len(written) - at <= again else 0.0, []) for at, id in enumerate(written.ids)]
        answer, copied = tokenizer.encode(" " + example.completion).ids, {}
        if example.number:
            copied = sources(given, *starts[example.number - 1 : example.number + 1], tokenizer.encode(" " + example.answer).ids)
            copied[len(answer) - 2] = [given.char_to_token(starts[example.number - 1]) + 1]
        text += [(id, 1.0, [1 + source for source in copied.get(at, [])]) for at, id in enumerate(answer)]
        text += [(END, 1.0, []), *((id, 0.0, []) for id in tokenizer.encode("\n").ids)]
    return text


def numbered(before: str, passages: Sequence[tuple[str, str]]) -> list[int]:
    """Where each passage begins in a prompt, at its bracket, and where the last one ends."""
    starts = []
    for number in range(1, len(passages) + 1):
        starts.append(before.index(f"\n[{number}] ", starts[-1] if starts else 0) + 1)
    return [*starts, before.rindex("\nQuestion:")] if starts else []


def sources(given: Encoding, start: int, end: int, answer: list[int]) -> dict[int, list[int]]:
    """For each token of an answer the places of its copies in a passage, which is the characters from start to end."""
    ids, found = given.ids, {at: [] for at in range(len(answer))}
    for first in range(given.char_to_token(start), given.char_to_token(end) - len(answer) + 1):
        if ids[first : first + len(answer)] == answer:
            for at, places in found.items():
                places.append(first + at)
    return found
