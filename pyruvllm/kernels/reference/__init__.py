"""The operations in numpy: one module a family, one function an operation, arguments by name as declared in its .toml.

They are the specification: a kernel is right when it gives what its twin gives, within the tolerance that ``cases`` states. They also
serve where no kernel does. A twin writes into its ``out`` arrays, which may be longer than what it fills, and raises OperandError for
indices and values that cannot be, as the kernel does; sizes are checked before it is called.
"""

from collections.abc import Callable
from importlib import import_module

from ..operation import Operation


def twin(operation: Operation) -> Callable[..., None]:
    return getattr(import_module(f"{__name__}.{operation.family}"), operation.name)
