"""Chat templates: how a conversation is written as one text, by the Jinja template that a model file carries.

They are run in Jinja's sandbox, as they come from whoever made the file: a template sees the messages and nothing else.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from ..errors import ConfigError, HostError, ModelError

ROLES = ("system", "user", "assistant", "tool")
KEY = "tokenizer.chat_template"


class ChatTemplate:
    """source: the template; begin, end: the texts of the tokens bos and eos. Raises ModelError where it is no template, HostError without
    the package jinja2.
    """

    def __init__(self, source: str, begin: str = "", end: str = "") -> None:
        try:
            from jinja2.exceptions import TemplateError
            from jinja2.sandbox import ImmutableSandboxedEnvironment
        except ImportError:
            raise HostError("chat templates need the package jinja2: pip install 'pyruvllm[models]'") from None
        environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"])
        environment.globals["raise_exception"] = _refuse
        self._given = {"bos_token": begin, "eos_token": end}
        try:
            self._template = environment.from_string(source)
        except TemplateError as error:
            raise ModelError(f"the chat template does not read as one: {error}") from None

    def render(
        self, messages: Sequence[Mapping[str, Any]], *, tools: Sequence[Mapping[str, Any]] | None = None, answering: bool = True
    ) -> str:
        """The conversation as a text in which control tokens are written out; answering: up to where the assistant's answer begins.

        Raises ConfigError for messages that are none, and for what the template refuses.
        """
        written = [_message(place, message) for place, message in enumerate(messages)]
        if not written:
            raise ConfigError("messages are empty; at least one would be right")
        try:
            return self._template.render(messages=written, tools=tools, add_generation_prompt=answering, **self._given)
        except Exception as error:  # noqa: BLE001  whatever a template does, it is the template's doing
            raise ConfigError(f"the model's chat template refuses the conversation: {error}") from None


def of_metadata(metadata: Mapping[str, Any], tokens: Sequence[str]) -> ChatTemplate | None:
    """The template of a GGUF file; None where it has none."""
    source = metadata.get(KEY)
    if source is None:
        return None
    if not isinstance(source, str):
        raise ModelError(f"{KEY} is a {type(source).__name__}; a string would be right")

    def text(name: str) -> str:
        id = metadata.get(f"tokenizer.ggml.{name}_token_id")
        return tokens[id] if type(id) is int and 0 <= id < len(tokens) else ""

    return ChatTemplate(source, text("bos"), text("eos"))


def _message(place: int, message: Mapping[str, Any]) -> dict[str, Any]:
    if not isinstance(message, Mapping) or message.get("role") not in ROLES:
        raise ConfigError(f"message {place} is {message!r}; a dict with a role of {', '.join(ROLES)} would be right")
    content = message.get("content")
    if isinstance(content, list | tuple):  # parts, of which text is understood
        wrong = next((part for part in content if not isinstance(part, Mapping) or part.get("type") != "text"), None)
        if wrong is not None:
            raise ConfigError(f"message {place} has a part {wrong!r}; parts of text are understood")
        content = "".join(str(part.get("text", "")) for part in content)
    if not isinstance(content, str) and not (content is None and message.get("tool_calls")):
        raise ConfigError(f"the content of message {place} is {content!r}; a string would be right")
    return {**message, "content": content}


def _refuse(message: str) -> None:
    raise ValueError(message)
