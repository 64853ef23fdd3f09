"""An operation for who makes many calls of it: each call is done by the kernel that the registry chooses at that time.

Where something is to be found out, a call is timed while it does its work: nothing is copied and, unless repeating it changes nothing,
nothing is done twice.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..errors import KernelError, OperandError
from .kernel import Call, Kernel
from .operation import Operation

if TYPE_CHECKING:
    from .registry import KernelRegistry


class ChosenKernel:
    """A Kernel whose calls follow the registry's decisions."""

    def __init__(self, registry: KernelRegistry, operation: Operation) -> None:
        self.operation, self.name = operation, operation.name
        self._registry = registry

    def bind(self, **values: Any) -> ChosenCall:
        return ChosenCall(self, self._registry, values)

    def __call__(self, **values: Any) -> None:
        self._registry.run(self.name, **values)


class ChosenCall:
    def __init__(self, kernel: ChosenKernel, registry: KernelRegistry, values: dict[str, Any]) -> None:
        self.kernel = kernel
        self._registry = registry
        self._place = registry.place(kernel.name, values)
        self._call: Call = self._place.kernel.bind(**values)
        self.values = dict(values)

    @property
    def staged(self) -> bool:
        """Whether arrays are copied at every run."""
        return getattr(self._call, "staged", False)

    def set(self, **changes: Any) -> None:
        self._call.set(**changes)
        self.values.update(changes)
        if any(name in changes for name in self.kernel.operation.shape):
            self._place = self._registry.place(self.kernel.name, self.values)

    def prepare(self) -> None:
        self._call.prepare()

    def __call__(self) -> None:
        place = self._place
        if not place.selector.rest:
            self._registry.attempt(place, self.values, self._bound)
            return
        place.selector.rest -= 1
        if self._call.kernel is not place.kernel:
            self._call = place.kernel.bind(**self.values)
        try:
            self._call()
        except OperandError:
            raise
        except KernelError as error:
            self._registry.stand_in(place, self._call.kernel, error, self.values)

    def _bound(self, kernel: Kernel) -> Call:
        return self._call if self._call.kernel is kernel else kernel.bind(**self.values)
