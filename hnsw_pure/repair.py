"""Taking nodes out of a graph so that what they held together stays together."""

import numpy as np

from .graph import Graph
from .insert import pairs, prune
from .table import VectorTable


def unlink(graph: Graph, table: VectorTable, slots: np.ndarray, ef: int) -> None:
    """Removes every link to slots (n,), all in the graph; the table still holds their vectors, and the graph their own lists.

    Whoever had a link to a removed node chooses anew from its other links and from the links of that node.
    ef: how many of these, the nearest, it chooses from.
    """
    for slot in slots.tolist():
        _leave_tree(graph, slot)
    dead = np.zeros(len(graph.levels) + 1, bool)  # one more: where -1 looks
    dead[slots] = True
    for level, layer in enumerate(graph.layers):
        holders = layer.holders(dead)
        holders = holders[~dead[holders]]
        for slot in holders.tolist():
            near = layer.list(slot)
            gone = dead[near]
            beyond = layer.lists(near[gone]).ravel()
            beyond = np.setdiff1d(beyond[beyond >= 0], near)
            beyond = beyond[~dead[beyond] & (beyond != slot)]
            if len(beyond) > ef:
                values = pairs(table, np.array([slot]), beyond)[0]
                beyond = beyond[np.argpartition(values, -ef)[-ef:]]
            prune(graph, table, level, slot, np.concatenate((near[~gone], beyond)))
        if len(holders):
            graph.touch(level, holders)


def _leave_tree(graph: Graph, slot: int) -> None:
    """Hands the children of a slot to its parent; of a root, to the first of them, which becomes the root."""
    children = graph.children(slot)
    above = int(graph.parent[slot])
    graph.parent[slot] = -1
    if above < 0 and len(children):
        above, children = int(children[0]), children[1:]
        graph.parent[above] = -1
    for child in children.tolist():
        graph.attach(child, above)
