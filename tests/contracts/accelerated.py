"""Indexes on the bundled kernels, for the contract of indexes."""

from functools import cache

from pyruvllm.kernels.accelerate import HnswKernels
from tests.contracts.kernels import library


@cache
def accelerator() -> HnswKernels:
    """On the kernels that this host likes best."""
    return HnswKernels(library().memory, lambda operation: library().kernel(operation, library().names(operation)[0]))


@cache
def on_kernels(kind: type) -> type:
    """The index class with the accelerator in it, also when it is loaded."""

    class OnKernels(kind):
        def __init__(self, *settings, **named) -> None:
            super().__init__(*settings, **{**named, "accelerator": accelerator()})

    return OnKernels
