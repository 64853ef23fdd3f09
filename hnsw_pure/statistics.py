"""What an index is made of, counted."""

from dataclasses import dataclass

import numpy as np

from .graph import Graph
from .layers import Layer


@dataclass(frozen=True)
class LayerStatistics:
    """nodes: on this layer; degrees: how many have 0, 1, 2 ... links, (width + 1,) int64."""

    nodes: int
    degrees: np.ndarray

    @property
    def mean_degree(self) -> float:
        return float(self.degrees @ np.arange(len(self.degrees)) / max(1, self.nodes))

    @property
    def least_degree(self) -> int:
        return int(np.argmax(self.degrees > 0))

    @property
    def greatest_degree(self) -> int:
        return int(len(self.degrees) - 1 - np.argmax(self.degrees[::-1] > 0))


@dataclass(frozen=True)
class Statistics:
    """vectors: held; free: slots that deleted ones left; bytes: of each array, by name; of a graph, its layers, the ground first, and
    the share of its nodes that links on the ground lead to from the entry point."""

    vectors: int
    free: int
    bytes: dict[str, int]
    layers: tuple[LayerStatistics, ...] = ()
    reachable: float | None = None

    def __str__(self) -> str:
        lines = [f"{self.vectors} vectors, {self.free} free slots, {sum(self.bytes.values()) / 1e6:.1f} MB"]
        lines += [f"  {name:10} {size / 1e6:10.2f} MB" for name, size in self.bytes.items()]
        for level, layer in enumerate(self.layers):
            degrees = f"{layer.least_degree} to {layer.greatest_degree}, {layer.mean_degree:.1f} in the mean"
            lines.append(f"  layer {level}: {layer.nodes} nodes, links {degrees}")
        if self.reachable is not None:
            lines.append(f"  {100 * self.reachable:.2f} % can be reached from the entry point")
        return "\n".join(lines)


def layer_statistics(layer: Layer, members: np.ndarray) -> LayerStatistics:
    """Of a layer with members (n,)."""
    degrees = (layer.lists(members) >= 0).sum(axis=1)
    return LayerStatistics(len(members), np.bincount(degrees, minlength=layer.width + 1).astype(np.int64))


def reachable_share(graph: Graph) -> float:
    """The share of nodes that links on the ground lead to from the entry point; 1 of an empty graph."""
    nodes = int(np.count_nonzero(graph.levels >= 0))
    if not nodes:
        return 1.0
    seen = np.zeros(len(graph.levels) + 1, bool)
    seen[-1] = True  # where -1, the padding of lists, looks
    front = np.array([graph.entry])
    seen[front] = True
    while len(front):
        near = graph.ground.lists(front).ravel()
        front = np.unique(near[~seen[near]])
        seen[front] = True
    return int(seen[:-1].sum()) / nodes
