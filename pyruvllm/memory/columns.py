"""How the typed stores keep values in columns: JSON as text, vectors as little-endian blobs. And what text may be kept at all."""

import json
import math
import re
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..config import DIMENSION
from ..errors import ConfigError

LARGEST = 65504.0  # number of float16
UNSTORABLE = re.compile("[\0\ud800-\udfff]")


@dataclass(frozen=True)
class Removed:
    """What a deletion took away."""

    passages: int = 0
    vectors: int = 0
    edges: int = 0
    turns: int = 0


def to_json(value: Any, what: str) -> str:
    """ConfigError, naming ``what``, for values that are no JSON: objects, NaN, half surrogates."""
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        text.encode()
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{what} must be JSON (strings, numbers, booleans, None, lists and dicts of them): {error}") from None
    return text


def checked_text(text: Any, what: str) -> str:
    """``text`` if it is storable: no NUL, no half surrogate, not just white space. Else ConfigError, naming ``what``."""
    if not isinstance(text, str):
        raise ConfigError(f"{what} is a string, not {type(text).__name__}")
    if not text or text.isspace():
        raise ConfigError(f"{what} is empty; at least one visible character is needed")
    nul = text.find("\0")
    if nul >= 0:
        raise ConfigError(f"{what} has a NUL character at {nul}: it looks like binary data, not text")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ConfigError(f"{what} is no valid Unicode: half of a surrogate pair at {error.start}") from None
    return text


def is_number(value: Any) -> bool:
    """Whether it is a finite number, and no truth value."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def cleaned_text(text: Any, what: str) -> str:
    """``text`` with U+FFFD for each character that cannot be stored: NUL and half surrogates. ConfigError for what is no string."""
    if not isinstance(text, str):
        raise ConfigError(f"{what} is a string, not {type(text).__name__}")
    return UNSTORABLE.sub("\ufffd", text)


def checked_vector(vector: Any, what: str) -> np.ndarray | None:
    """(768,) float32, or None. ConfigError for another shape, and for values that are not finite or would not be in float16."""
    if vector is None:
        return None
    array = np.asarray(vector, dtype=np.float32)
    if array.shape != (DIMENSION,):
        raise ConfigError(f"{what} has the shape {array.shape}; ({DIMENSION},) is right")
    if not np.isfinite(array).all():
        raise ConfigError(f"{what} has values that are not finite")
    if np.abs(array).max() > LARGEST:
        raise ConfigError(f"{what} has the value {array[np.abs(array).argmax()]}; it is kept in float16, to which {LARGEST} is the largest")
    return array


def to_blob(vector: np.ndarray | None, dtype: str) -> bytes | None:
    """``dtype`` is '<f2' or '<f4'."""
    return None if vector is None else vector.astype(dtype).tobytes()


def from_blob(blob: Any, dtype: str) -> np.ndarray | None:
    """A float32 array of what ``to_blob`` made."""
    return None if blob is None else np.frombuffer(blob, dtype).astype(np.float32)


def shortened(text: str, limit: int) -> str:
    """``text`` on one line of at most ``limit`` characters, cut between words where it can be."""
    line = " ".join(text.split())
    if len(line) <= limit:
        return line
    cut = line[: limit - 1]
    space = cut.rfind(" ")
    return (cut[:space] if space > limit // 2 else cut).rstrip(" ,;:.-–") + "…"
