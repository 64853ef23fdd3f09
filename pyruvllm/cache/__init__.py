"""Keys and values of many conversations under one budget.

region.py     which bytes are free          pool.py      one budget, and what goes first
layout.py     what is inside a page         pages.py     pages taken, shared, found again
two_tier.py   sequences                     quantize.py  how exactly they are kept
sessions.py   of conversations, in tiers    importance.py  how much each matters
"""

from .layout import PAGE, Form, Layout
from .pool import Holding, Pool
from .quantize import EXACT, Setting, decide
from .sessions import Caching, Resumed, SessionCaches
from .two_tier import KvCache, Sequence

__all__ = [
    "EXACT", "PAGE", "Caching", "Form", "Holding", "KvCache", "Layout", "Pool", "Resumed", "Sequence", "SessionCaches", "Setting", "decide",
]  # fmt: skip
