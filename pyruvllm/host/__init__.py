"""The host this interpreter runs on: a browser (or another JavaScript engine) through Pyodide, or native CPython."""

import sys
from functools import cache

from .base import Held, Host, OnnxSession, Progress
from .files import Answer, Device, Files, OpenFile

__all__ = ["Answer", "Device", "Files", "Held", "Host", "OnnxSession", "OpenFile", "Progress", "current"]


@cache
def current() -> Host:
    """The one host of this process, chosen at the first call."""
    if sys.platform == "emscripten":
        from .browser import BrowserHost

        return BrowserHost()
    from .native import NativeHost

    return NativeHost()
