"""What a model is told of a conversation and of what was recalled, within the tokens that there is room for.

What is left out where it does not fit, in this order: exchanges beyond the quarter of the room that is theirs, the oldest first; passages,
the worst first; the end of the best passage, at a sentence. What passages leave free goes back to older exchanges. The question is never
shortened: one that does not fit is refused.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from ..embed.sentences import below_headings, sentences
from ..errors import ConfigError
from ..types import Hit
from .dialogue import Dialogue
from .marks import without_marks
from .prompt import grounded_prompt

SAID = 0.25  # of the room, for what was said before
BESIDE = 8  # tokens of a message or a passage beside its text, about

Message = tuple[str, str]  # (role, what was said)


@dataclass(frozen=True)
class Grounding:
    """ids: of the prompt; passages: how many of the hits, the best, it has; left_out: what did not fit, in words."""

    ids: list[int]
    passages: int
    left_out: tuple[str, ...]


def ground(model: Dialogue, question: str, hits: Sequence[Hit], history: Sequence[Message], room: int, instructions: str = "") -> Grounding:
    """history: messages before the question, the newest last. room: tokens. ConfigError where the question alone has none."""

    def written(passages: Sequence[Message], exchanges: Sequence[Sequence[Message]]) -> list[int]:
        return _ids(model, question, passages, exchanges, instructions)

    passages = [(hit.metadata.get("heading") or hit.metadata["title"], hit.text[below_headings(hit.text) :]) for hit in hits]
    exchanges = _exchanges(history)
    bare = len(written([("", "")] if passages else [], []))
    if bare > room:
        raise ConfigError(f"the question takes {bare} tokens with what goes around it, and there is room for {room}")
    left = room - bare
    said = [sum(_cost(model, text) for _, text in exchange) for exchange in exchanges]
    costs = [_cost(model, f"{heading}: {text}") for heading, text in passages]
    given = _fitting(costs, left - min(sum(said), int(left * SAID)))
    chosen = passages[:given]
    if cut := passages and not given:
        chosen = [part for part in [_cut(model, passages[0], left)] if part[1]]
    spent = sum(costs[:given]) if given else left if chosen else 0
    kept = exchanges[len(exchanges) - _fitting(said[::-1], left - spent) :]
    while len(ids := written(chosen, kept)) > room and (kept or chosen):  # costs are near, not exact
        kept, chosen = (kept[1:], chosen) if kept else (kept, chosen[:-1])
    return Grounding(ids, len(chosen), _left_out(len(passages), len(chosen), bool(cut and chosen), len(exchanges), len(kept)))


def _ids(
    model: Dialogue, question: str, passages: Sequence[Message], exchanges: Sequence[Sequence[Message]], instructions: str
) -> list[int]:
    before = [{"role": role, "content": text} for exchange in exchanges for role, text in exchange]
    messages = grounded_prompt(question, passages, before)
    messages[0]["content"] = "\n\n".join(part for part in (messages[0]["content"], instructions) if part)
    if model.template is not None:
        return model.chat_ids(messages)
    names = {"system": "", "user": "User: ", "assistant": "Assistant: "}
    said = "\n\n".join(names[message["role"]] + message["content"] for message in messages)
    return model.tokenizer.encode(f"{said}\n\nAssistant:", bounds=True)


def _exchanges(history: Sequence[Message]) -> list[list[Message]]:
    """Questions with what was answered to them; marks are of passages that are not there any more."""
    exchanges: list[list[Message]] = []
    for role, text in history:
        if role == "user":
            exchanges.append([(role, text)])
        elif exchanges and role == "assistant":
            exchanges[-1].append((role, without_marks(text)))
    return exchanges


def _cost(model: Dialogue, text: str) -> int:
    return len(model.tokenizer.encode(text)) + BESIDE


def _fitting(costs: Sequence[int], room: int) -> int:
    """How many of the first fit."""
    for count, cost in enumerate(costs):
        room -= cost
        if room < 0:
            return count
    return len(costs)


def _cut(model: Dialogue, passage: Message, room: int) -> Message:
    """As many of its first sentences as fit."""
    heading, text = passage
    end = 0
    for _, stop in sentences(text):
        if _cost(model, f"{heading}: {text[:stop]}") > room:
            break
        end = stop
    return heading, text[:end]


def _left_out(passages: int, given: int, cut: bool, exchanges: int, kept: int) -> tuple[str, ...]:
    told = []
    if given < passages:
        told.append(f"Of {passages} passages found, the best {given} had room in the model's context.")
    if cut:
        told.append("The best passage was shortened to have room in the model's context.")
    if kept < exchanges:
        told.append(f"Of {exchanges} earlier exchanges, the last {kept} had room in the model's context.")
    return tuple(told)
