"""A learning memory and a small-model runtime that live whole in a browser tab. Start with ``pyruvllm.open``."""

from .config import Config
from .errors import RuvLLMError
from .runtime import AnswerStream, RuvLLM, open, open_bytes
from .types import Answer, Hit, Source

__version__ = "0.1.0"

__all__ = ["Answer", "AnswerStream", "Config", "Hit", "RuvLLM", "RuvLLMError", "Source", "open", "open_bytes"]
