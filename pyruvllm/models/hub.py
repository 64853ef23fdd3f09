"""A tokenizer and a chat template as Hub repositories have them (tokenizer.json and beside it), by the names that GGUF has for them."""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..errors import ModelError
from .tokenizer.vocabulary import TokenKind

KEY = "tokenizer.ggml."
DIGITS = (("\\p{N}{1,3}", "llama3"), ("\\p{N}", "qwen2"))  # by how the pattern cuts numbers, which is all that differs


def metadata_of(files: Mapping[str, bytes], name: str) -> dict[str, Any]:
    """files: config.json and tokenizer.json; tokenizer_config.json and chat_template.jinja where there are such. ModelError."""
    config, described = _json(files, "config.json"), _json(files, "tokenizer.json")
    about = _json(files, "tokenizer_config.json") if "tokenizer_config.json" in files else {}
    try:
        model = described["model"]
        if model["type"] != "BPE":
            raise ModelError(f"tokenizer.json is of a {model['type']} model; BPE over bytes is read")
        added = {int(each["id"]): each for each in described.get("added_tokens", ())}
        tokens = _tokens(model["vocab"], added)
        merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in model["merges"]]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ModelError(f"tokenizer.json does not describe a tokenizer: {error!r}") from None
    kinds = np.full(len(tokens), TokenKind.NORMAL, np.int32)
    for id, each in added.items():
        kinds[id] = TokenKind.CONTROL if each.get("special") else TokenKind.USER_DEFINED
    found: dict[str, Any] = {
        "general.name": name,
        "general.architecture": config.get("model_type"),
        "context_length": config.get("max_position_embeddings"),
        KEY + "model": "gpt2",
        KEY + "pre": _pre(described),
        KEY + "tokens": tokens,
        KEY + "merges": merges,
        KEY + "token_type": kinds,
    }
    if normal := _normal(described.get("normalizer")):
        found[KEY + "normalizer"] = normal
    for role in ("bos", "eos", "pad"):
        id = _special(config, about, role, tokens)
        if id is not None:
            found[f"{KEY}{'padding' if role == 'pad' else role}_token_id"] = id
    if "add_bos_token" in about:
        found[KEY + "add_bos_token"] = bool(about["add_bos_token"])
    template = files.get("chat_template.jinja")
    if template is not None or isinstance(about.get("chat_template"), str):
        found["tokenizer.chat_template"] = template.decode() if template is not None else about["chat_template"]
    return found


def _json(files: Mapping[str, bytes], name: str) -> dict[str, Any]:
    try:
        value = json.loads(files[name])
    except (KeyError, ValueError) as error:
        raise ModelError(f"{name} is missing or no JSON: {error!r}") from None
    if not isinstance(value, dict):
        raise ModelError(f"{name} is no object")
    return value


def _tokens(vocabulary: Mapping[str, int], added: Mapping[int, Mapping[str, Any]]) -> list[str]:
    """By id; a number that nobody has gets a name of its own."""
    by_id = {int(id): token for token, id in vocabulary.items()} | {id: str(each["content"]) for id, each in added.items()}
    if not by_id or not 0 <= min(by_id) <= max(by_id) < 1 << 24:
        raise ValueError("the ids of tokens")
    return [by_id.get(id, f"<|unused {id}|>") for id in range(max(by_id) + 1)]


def _pre(described: Mapping[str, Any]) -> str:
    """The pre-tokenizer by its pattern: of those that are used with BPE over bytes."""
    written, steps = json.dumps(described.get("pre_tokenizer")), _steps(described.get("pre_tokenizer"), "pretokenizers")
    if "ByteLevel" not in written:
        raise ModelError(f"tokenizer.json cuts words by {written[:80]}; byte-level tokenizers are read")
    if any(step.get("type") == "ByteLevel" and step.get("add_prefix_space") for step in steps):
        raise ModelError("pre_tokenizer of tokenizer.json has add_prefix_space; a text is read as it stands")
    digits = [step for step in steps if step.get("type") == "Digits"]
    if any(not step.get("individual_digits") for step in digits):
        raise ModelError("pre_tokenizer of tokenizer.json has Digits without individual_digits; each digit is cut out on its own")
    if "Split" not in written:
        return "smollm" if digits else "gpt-2"
    return next((pre for digits, pre in DIGITS if json.dumps(digits)[1:-1] in written), "gpt-2")


def _normal(normalizer: Any) -> str | None:
    """What is done to a text before it is cut: "nfc", or nothing. ModelError for what is not done here."""
    steps = {str(step.get("type")) for step in _steps(normalizer, "normalizers")}
    if steps - {"NFC"}:
        raise ModelError(f"normalizer of tokenizer.json is {', '.join(sorted(steps))}; NFC is done, or none")
    return "nfc" if steps else None


def _steps(described: Any, inner: str) -> list[dict[str, Any]]:
    """A step as it stands, or those of a sequence; none for null."""
    if not isinstance(described, dict):
        return []
    if described.get("type") != "Sequence":
        return [described]
    return [step for each in described.get(inner) or () for step in _steps(each, inner)]


def _special(config: Mapping[str, Any], about: Mapping[str, Any], role: str, tokens: list[str]) -> int | None:
    id = config.get(f"{role}_token_id")
    id = id[0] if isinstance(id, list) and id else id
    if type(id) is int and 0 <= id < len(tokens):
        return id
    text = about.get(f"{role}_token")
    text = text.get("content") if isinstance(text, dict) else text
    return tokens.index(text) if isinstance(text, str) and text in tokens else None
