"""Indexes on the bundled kernels, for the contract of indexes."""

from functools import cache

from pyruvllm.kernels.accelerate import HnswKernels
from tests.contracts.kernels import library


@cache
def accelerator() -> HnswKernels:
    """On the kernels that this host likes best."""
    best = [library().kernel(operation, library().names(operation)[0]) for operation in ("hnsw_search", "hnsw_scan", "hnsw_insert")]
    return HnswKernels(library().memory, *best)


@cache
def on_kernels(kind: type) -> type:
    """The index class with the accelerator in it, also when it is loaded."""

    class OnKernels(kind):
        def __init__(self, *settings, **named) -> None:
            super().__init__(*settings, **{**named, "accelerator": accelerator()})

    return OnKernels
