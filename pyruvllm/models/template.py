"""Chat templates: how a conversation is written as one text, by the Jinja template that a model file carries.

They are run in Jinja's sandbox, as they come from whoever made the file: a template sees the messages, the tools, what day it is, and
nothing else. What they may use beside Jinja is what Hugging Face's ``apply_chat_template`` gives them.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from ..config import Clock
from ..errors import ConfigError, HostError, ModelError

ROLES = ("system", "user", "assistant", "tool")
KEY = "tokenizer.chat_template"

if TYPE_CHECKING:
    from jinja2 import nodes
    from jinja2.parser import Parser


class ChatTemplate:
    """source: the template; begin, end: the texts of the tokens bos and eos; tools: whether it makes use of these. Raises ModelError where
    it is no template, HostError without the package jinja2.
    """

    def __init__(self, source: str, begin: str = "", end: str = "", clock: Clock | None = None) -> None:
        try:
            from jinja2 import meta
            from jinja2.exceptions import TemplateError
            from jinja2.sandbox import ImmutableSandboxedEnvironment
        except ImportError:
            raise HostError("chat templates need the package jinja2: pip install 'pyruvllm[models]'") from None
        environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols", _marks()])
        environment.globals |= {"raise_exception": _refuse, "strftime_now": _today(clock or Clock())}
        environment.filters["tojson"] = _written
        self._given = {"bos_token": begin, "eos_token": end}
        try:
            self._template = environment.from_string(source)
            self.tools = "tools" in meta.find_undeclared_variables(environment.parse(source))
        except TemplateError as error:
            raise ModelError(f"the chat template does not read as one: {error}") from None

    def render(
        self, messages: Sequence[Mapping[str, Any]], *, tools: Sequence[Mapping[str, Any]] | None = None, answering: bool = True
    ) -> str:
        """The conversation as a text in which control tokens are written out; answering: up to where the assistant's answer begins.

        Raises ConfigError for messages that are none, for tools where the template has no place for them, and for what it refuses.
        """
        if tools and not self.tools:
            raise ConfigError("tools are given, and the model's chat template has no place for them: it was not made to call any")
        written = [_message(place, message) for place, message in enumerate(messages)]
        if not written:
            raise ConfigError("messages are empty; at least one would be right")
        try:
            return self._template.render(messages=written, tools=tools, add_generation_prompt=answering, **self._given)
        except Exception as error:  # noqa: BLE001  whatever a template does, it is the template's doing
            raise ConfigError(f"the model's chat template refuses the conversation: {error}") from None


def of_metadata(metadata: Mapping[str, Any], tokens: Sequence[str], clock: Clock | None = None) -> ChatTemplate | None:
    """The template of a GGUF file; None where it has none. clock: tells it what day it is."""
    source = metadata.get(KEY)
    if source is None:
        return None
    if not isinstance(source, str):
        raise ModelError(f"{KEY} is a {type(source).__name__}; a string would be right")

    def text(name: str) -> str:
        id = metadata.get(f"tokenizer.ggml.{name}_token_id")
        return tokens[id] if type(id) is int and 0 <= id < len(tokens) else ""

    return ChatTemplate(source, text("bos"), text("eos"), clock)


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


def _today(clock: Clock) -> Callable[[str], str]:
    return lambda format: datetime.fromtimestamp(clock.now_ms() / 1000).strftime(format)  # as the user's clock has it


def _written(value: Any, ensure_ascii: bool = False, indent: int | None = None, separators: Any = None, sort_keys: bool = False) -> str:
    """JSON as it is, where Jinja's own filter sorts keys and escapes for HTML."""
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _marks() -> Any:
    """The tags around what an assistant said, which training reads: here what is between them is written and nothing more."""
    from jinja2 import nodes
    from jinja2.ext import Extension

    class Generation(Extension):
        tags = {"generation"}

        def parse(self, parser: "Parser") -> "nodes.Node":
            line = next(parser.stream).lineno
            return nodes.Scope(parser.parse_statements(("name:endgeneration",), drop_needle=True), lineno=line)

    return Generation
