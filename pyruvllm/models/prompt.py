"""How recalled passages are given to a language model: numbered, with the question before and after them.

The question stands first too, so that a model reads the passages knowing what is looked for (Liu et al. 2023, Lost in the Middle,
arXiv:2307.03172, section 4.2); small ones need it. The model that ships with the package was trained on exactly this form.
"""

import re
from collections.abc import Mapping, Sequence

NOTHING = "The notes do not say."  # what a model is asked to say where no passage answers
SYSTEM = (
    "You answer questions from the user's notes. Use nothing but the numbered notes. Answer briefly and name the note you used by its "
    f"number, like [1]. If no note answers the question, say: {NOTHING}"
)
_WRAP = re.compile(r"[ \t]*\n(?!\s*\n|\s*(?:[-*+|#>]|\d+[.)])\s?)[ \t]*")  # ends of lines inside a paragraph


def grounded_prompt(question: str, passages: Sequence[tuple[str, str]], history: Sequence[Mapping[str, str]] = ()) -> list[dict[str, str]]:
    """Messages for ``LanguageModel.chat``. passages: (heading or title, text), the first is [1]; history: earlier messages of the
    conversation as they were said, without their passages.
    """
    system = {"role": "system", "content": SYSTEM}
    return [system, *map(dict, history), {"role": "user", "content": grounded_question(question, passages)}]


def grounded_question(question: str, passages: Sequence[tuple[str, str]]) -> str:
    """What the user says in the last of these messages."""
    asked = f"Question: {' '.join(question.split())}"
    if not passages:
        return asked
    notes = "\n".join(f"[{number}] {_passage(*passage)}" for number, passage in enumerate(passages, 1))
    return f"{asked}\n\nNotes:\n{notes}\n\n{asked}"


def _passage(heading: str, text: str) -> str:
    text = _WRAP.sub(" ", text.strip())
    return f"{heading}: {text}" if heading else text
