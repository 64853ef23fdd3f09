"""The small model that comes with the package: it answers from numbered notes by copying a few words out of one of them.

    model = LanguageModel(builtin.data(), kernels)
    async for piece in model.chat(grounded_prompt(question, passages), Sampling(temperature=0)): ...

Of a stranger's notes about six answers in ten are right. It knows nothing by itself and holds no conversation. How it was made and how
often it is right stands in docs/small-model.md. The space that an answer begins with belongs to its first word.
"""

import json
from importlib.resources import files
from typing import Any

from ...errors import ModelError


def about() -> dict[str, Any]:
    """model.json: title, file, bytes, sha256, licence, and how far it was trained. ModelError."""
    return json.loads(_read("model.json"))


def data() -> bytes:
    """The GGUF file, whole. ModelError where this installation is without."""
    return _read(about()["file"])


def _read(name: str) -> bytes:
    try:
        return files(__name__).joinpath(name).read_bytes()
    except OSError as error:
        raise ModelError(f"this installation has no built-in model: {name} is missing ({error})") from error
