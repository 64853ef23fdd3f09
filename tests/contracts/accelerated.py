"""Indexes on the bundled kernels, for the contract of indexes."""

from functools import cache

from pyruvllm.kernels.accelerate import HnswKernels
from tests.contracts.kernels import library


@cache
def accelerator() -> HnswKernels:
    """On the kernels that this host likes best."""
    operations = (f"hnsw_{name}" for name in ("search", "scan", "insert", "unlink"))
    return HnswKernels(library().memory, *(library().kernel(each, library().names(each)[0]) for each in operations))


@cache
def on_kernels(kind: type) -> type:
    """The index class with the accelerator in it, also when it is loaded."""

    class OnKernels(kind):
        def __init__(self, *settings, **named) -> None:
            super().__init__(*settings, **{**named, "accelerator": accelerator()})

    return OnKernels
