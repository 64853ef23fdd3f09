"""Where a registry chooses: an operation at a shape class, and what is measured of its kernels there."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from .kernel import Kernel
from .operation import Operation
from .selector import Selector


class Place:
    """One operation at one shape class."""

    __slots__ = ("operation", "label", "selector", "kernel", "compared")

    def __init__(self, operation: Operation, label: str, selector: Selector) -> None:
        self.operation, self.label, self.selector = operation, label, selector
        self.kernel: Kernel | None = None  # what serves
        self.compared = False  # for a recording


def repeatable(operation: Operation, values: Mapping[str, Any]) -> bool:
    """Whether running it twice gives what running it once does: nothing is both read and written."""
    if any(operand.mode == "inout" and values.get(operand.name) is not None for operand in operation.operands):
        return False
    given = [(operand.mode, values[operand.name]) for operand in operation.operands if values.get(operand.name) is not None]
    read, written = [[array for mode, array in given if mode == wanted] for wanted in ("in", "out")]
    return not any(np.may_share_memory(a, b) for a in read for b in written)
