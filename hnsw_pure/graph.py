"""Where the links live: flat int32 neighbour arrays, levels, the entry point, and a tree that keeps the ground connected.

A node is known by its slot in the `VectorTable`. Links are directed. On the ground layer a subset of them, the *tree*, runs both
ways between a node and its parent and is never pruned, so every live node can be reached from every other whatever is pruned or
deleted around it. Malkov and Yashunin (2018) leave that to chance; here it is an invariant:

    parent[slot] is -1 for one live node, the root; for any other, slot and parent[slot] are in each other's ground list,
    following parents ends at the root, and no node has more than `m` children.
"""

import numpy as np

from .arrays import Empty, grown, placed, shortened
from .layers import Layer, Towers, UpperLayer, renamed
from .segments import Ledger


class Graph:
    """The links of all layers.

    levels  (capacity,) int8: highest layer of a slot, -1 where it is not in the graph
    parent  (capacity,) int32: in the tree; -1 for the root and for slots that are not in the graph
    layers  the ground first, with 2 m links a node, m on the others
    towers  where the lists of the layers above the ground are
    entry   the slot where searches begin, on the highest layer; -1 when empty
    """

    def __init__(self, m: int, seed: int, ledger: Ledger, empty: Empty = np.empty) -> None:
        self.m = m
        self.seed = seed
        self.ledger = ledger
        self._empty = empty
        self.levels = empty(0, np.int8)
        self.parent = empty(0, np.int32)
        self.layers: list[Layer] = [Layer(2 * m, empty)]
        self.towers = Towers(m, empty)
        self.entry = -1

    @classmethod
    def over(cls, m: int, levels, parent, links, first, towers, ledger) -> "Graph":
        """A graph on arrays that are there already: levels and parent (capacity,), the ground's links, `first` and links of the towers."""
        graph = cls(m, 0, ledger)
        graph.levels, graph.parent, graph.ground.links = levels, parent, links
        graph.towers.first, graph.towers.links = first, towers
        graph.keep_layers(int(levels.max(initial=0)))
        graph._choose_entry()
        return graph

    @property
    def ground(self) -> Layer:
        return self.layers[0]

    @property
    def upper(self) -> list[UpperLayer]:
        return self.layers[1:]

    def draw_levels(self, ids: np.ndarray) -> np.ndarray:
        """Levels of ids (n,), (n,) int8: geometric with multiplier 1 / ln m, from a hash of the id and the seed.

        Without a generator's state an id gets the same level in whatever order it comes, before and after a restart.
        """
        mixed = ids.astype(np.uint64) + np.uint64((self.seed * 0x9E3779B97F4A7C15) % 2**64)
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)  # the finaliser of splitmix64
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        uniform = ((mixed ^ (mixed >> np.uint64(31))) >> np.uint64(11)).astype(np.float64) + 0.5
        return (-np.log(uniform / 2**53) / np.log(self.m)).astype(np.int8)

    def reserve(self, capacity: int) -> None:
        """Makes room for slots 0 ... capacity - 1."""
        self.levels = grown(self._empty, self.levels, capacity, -1)
        self.parent = grown(self._empty, self.parent, capacity, -1)
        self.ground.reserve(capacity)
        self.towers.reserve(capacity)

    def enrol(self, slots: np.ndarray, levels: np.ndarray) -> None:
        """Takes slots (n,) in at levels (n,), with empty lists, and sets the entry point."""
        self.keep_layers(max(len(self.upper), int(levels.max())))
        self.levels[slots] = levels
        tall = levels > 0
        self.towers.enrol(slots[tall], levels[tall])
        self._choose_entry()
        self.touch_all(slots)

    def expel(self, slots: np.ndarray) -> None:
        """Removes slots (n,) whose links are repaired and whose children have other parents. Empty layers go too."""
        self.touch_all(slots)
        self.ground.links[slots] = -1
        tall = slots[self.levels[slots] > 0]
        self.towers.expel(tall, self.levels[tall])
        self.levels[slots] = -1
        self.parent[slots] = -1
        self._choose_entry()
        self.keep_layers(max(0, int(self.levels.max(initial=0))))

    def restore(self, levels: np.ndarray, upper: list[tuple[np.ndarray, np.ndarray]]) -> None:
        """Takes over the levels (capacity,), and per upper layer its slots (n,) and their lists (n, m), of a saved graph."""
        self.levels = placed(self._empty, levels)
        tall = np.flatnonzero(levels > 0)
        self.towers.enrol(tall, levels[tall])
        self.keep_layers(len(upper))
        for layer, (slots, lists) in zip(self.upper, upper, strict=True):
            self.towers.links[layer.rows(slots)] = lists
        self._choose_entry()

    def touch(self, level: int, slots: np.ndarray) -> None:
        """Notes that the lists of slots (n,) on one layer changed."""
        if level:
            self.ledger.touch_name(f"upper/{level}")
        else:
            self.ledger.touch("links", slots)

    def touch_all(self, slots: np.ndarray) -> None:
        for level in range(int(self.levels[slots].max(initial=0)) + 1):
            self.touch(level, slots)

    def children(self, slot: int) -> np.ndarray:
        """The children of a slot in the tree, (n,) int32."""
        near = self.ground.list(slot)
        return near[self.parent[near] == slot]

    def has_room(self, slot: int) -> bool:
        return len(self.children(slot)) < self.m

    def pinned(self, slot: int, near: np.ndarray) -> np.ndarray:
        """Which links of a slot to near (n,) belong to the tree, (n,) bool."""
        return (self.parent[near] == slot) | (near == self.parent[slot])

    def attach(self, slot: int, parent: int) -> None:
        """Makes `parent`, or where it has no room a leaf below it, the parent of a slot that is not above it in the tree."""
        while not self.has_room(parent):
            parent = int(self.children(parent)[0])
        self._ensure(slot, parent)
        self._ensure(parent, slot)
        self.parent[slot] = parent
        self.touch(0, np.array([slot, parent]))

    def grow_tree(self) -> None:
        """Lays the tree over links that were made without one: a breadth-first walk, each node below the one that led to it.

        One that no link leads to comes below a node that it has a link to, or below the entry point.
        """
        self.parent[:] = -1
        met = self.levels < 0
        met[self.entry] = True
        front = [self.entry]
        while front:
            further = []
            for slot in front:
                for near in self.ground.list(slot).tolist():
                    if not met[near]:
                        met[near] = True
                        self.attach(near, slot)
                        further.append(near)
            front = further
        for slot in np.flatnonzero(~met).tolist():
            near = self.ground.list(slot)
            near = near[met[near]]
            self.attach(slot, int(near[0]) if len(near) else self.entry)
            met[slot] = True

    def _ensure(self, slot: int, neighbour: int) -> None:
        """Puts a neighbour into a ground list, in the place of the last link outside the tree where the list is full."""
        near = self.ground.list(slot)
        if neighbour in near:
            return
        if len(near) == self.ground.width:
            near = np.delete(near, np.flatnonzero(~self.pinned(slot, near))[-1])
        self.ground.assign(slot, np.append(near, neighbour))

    def move(self, sources: np.ndarray, targets: np.ndarray) -> None:
        """What is in slots (n,), ascending, moves to `targets` (n,), free or among them, and every link to it follows.

        Among all slots in use their order stays, so the entry point is the node that it was.
        """
        low = int(sources[0])
        new = np.arange(low, int(sources[-1]) + 1, dtype=np.int32)
        new[sources - low] = targets
        self.touch_all(np.append(sources, targets))
        lists, parents = renamed(self.ground.links, low, new), renamed(self.parent, low, new)
        self.touch(0, np.flatnonzero(lists | parents))
        lists = renamed(self.towers.links, low, new)
        for level, layer in enumerate(self.upper, 1):
            if lists[layer.rows(layer.members())].any():
                self.touch(level, sources)
        left = np.setdiff1d(sources, targets)
        for array in (self.levels, self.parent, self.ground.links, self.towers.first):
            array[targets] = array[sources]
            array[left] = -1
        self.touch_all(targets)
        self._choose_entry()

    def shrink(self, top: int) -> None:
        """Gives back the memory of slots from `top` on, which are free, and of towers that are gone."""
        self.levels, self.parent = (shortened(self._empty, array, top) for array in (self.levels, self.parent))
        self.ground.shrink(top)
        self.towers.shrink(np.maximum(self.levels, 0).astype(np.int64))

    def fault(self, live: np.ndarray) -> str | None:
        """What about this graph cannot be, in words, or None; live (capacity,) bool says which slots hold a vector."""
        if not np.array_equal(self.levels >= 0, live):
            return "the slots with links are not those with vectors"
        for level, layer in enumerate(self.layers):
            on_it = self.levels >= level
            links = layer.lists(np.flatnonzero(on_it))
            if links.max(initial=-1) >= len(live) or not np.append(on_it, True)[links].all():
                return f"layer {level} has links to slots that are not on it"
            ordered = np.sort(links, axis=1)
            if ((ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] >= 0)).any() or (links == np.flatnonzero(on_it)[:, None]).any():
                return f"layer {level} has a link twice, or from a node to itself"
        nodes = np.flatnonzero(live)
        roots = nodes[self.parent[nodes] < 0]
        if len(roots) != min(1, len(nodes)):
            return f"the tree has {len(roots)} roots"
        below = np.setdiff1d(nodes, roots)
        above = self.parent[below]
        if above.max(initial=-1) >= len(live) or not live[above].all():
            return "the tree has a parent that is no node"
        if not (self.ground.lists(below) == above[:, None]).any(axis=1).all() or not (
            (self.ground.lists(above) == below[:, None]).any(axis=1).all()
        ):
            return "a link of the tree is missing"
        ancestors = self.parent
        for _ in range(len(nodes).bit_length()):  # each step doubles the height it looks from
            ancestors = np.where(ancestors >= 0, ancestors[ancestors], -1)
        return "the tree has a cycle" if (ancestors >= 0).any() else None

    def keep_layers(self, height: int) -> None:
        """Makes `height` the highest layer: those above it go, those that are not there yet come."""
        del self.layers[height + 1 :]
        self.layers += [UpperLayer(self.m, level, self) for level in range(len(self.layers), height + 1)]

    def _choose_entry(self) -> None:
        top = int(np.argmax(self.levels)) if len(self.levels) else -1
        self.entry = top if top >= 0 and self.levels[top] >= 0 else -1
