"""The states of a grammar, numbered as they come up, and the tokens of a vocabulary as a tree over their bytes.

A state is what may still follow. Which tokens may come next is found by walking the tree and the states side by side, one level of the
tree at a time, so that numpy does the work; new states are made only for bytes that were met.
"""

from collections.abc import Sequence

import numpy as np

from .expression import Grammar, Node, members

DEAD = 0  # the state after what cannot be


class Automaton:
    def __init__(self, grammar: Grammar, start: Node) -> None:
        self._grammar = grammar
        self._nodes: list[Node] = [grammar.none]
        self._numbers: dict[Node, int] = {grammar.none: DEAD}
        self._known = np.zeros(64, bool)  # states whose row is there
        self._known[DEAD] = True
        self.table = np.zeros((64, 256), np.int32)  # [state, byte]: the state after it, where the row is there
        self.least = np.zeros(64, np.int32)  # bytes of the shortest text that ends it
        self.start = self._number(start)

    def ends(self, state: int) -> bool:
        """Whether the text may end here."""
        return self._nodes[state].nullable

    def over(self, state: int) -> bool:
        """Whether it has to."""
        return self.ends(state) and not self.row(state).any()

    def row(self, state: int) -> np.ndarray:
        """(256,) the states after each byte."""
        if not self._known[state]:
            self._make(state)
        return self.table[state]

    def rows(self, states: np.ndarray) -> None:
        """Makes the rows of these, where they are not there yet."""
        missing = states[~self._known[states]]
        for state in np.flatnonzero(np.bincount(missing)):
            self._make(int(state))

    def after(self, state: int, text: bytes) -> int:
        for byte in text:
            state = int(self.row(state)[byte])
        return state

    def _make(self, state: int) -> None:
        node, found = self._nodes[state], []
        for mask in self._grammar.classes(node):
            child = self._grammar.after(node, (mask & -mask).bit_length() - 1)
            if child is not self._grammar.none and self._grammar.least(child) is not None:
                found.append((members(mask), self._number(child)))
        for bytes_, number in found:
            self.table[state, bytes_] = number
        self._known[state] = True

    def _number(self, node: Node) -> int:
        if node not in self._numbers:
            number = self._numbers[node] = len(self._nodes)
            self._nodes.append(node)
            if number == len(self._known):
                self._known = np.concatenate((self._known, np.zeros(number, bool)))
                self.least = np.concatenate((self.least, np.zeros(number, np.int32)))
                self.table = np.concatenate((self.table, np.zeros((number, 256), np.int32)))
            self.least[number] = self._grammar.least(node)
        return self._numbers[node]


class TokenTree:
    """pieces: what each token stands for; those of no bytes are not in it. Nodes are numbered level by level, children side by side."""

    def __init__(self, pieces: Sequence[bytes]) -> None:
        self.pieces = pieces
        order = sorted((id for id, piece in enumerate(pieces) if piece), key=pieces.__getitem__)
        sizes = np.array([len(pieces[id]) for id in order], np.int64)
        flat = np.frombuffer(b"".join(pieces[id] for id in order), np.uint8)
        starts, ids = np.cumsum(sizes) - sizes, np.array(order, np.int64)
        left, at = np.arange(len(order)), np.zeros(len(order), np.int64)  # tokens with a byte at this level, by place; their node
        self._node = np.full(len(pieces), -1, np.int32)  # (tokens,), where each ends
        self._levels = [0, 1]  # first nodes; the last level is followed by the number of nodes
        bytes_, parents, counts = [np.zeros(1, np.int64)], [np.zeros(1, np.int64)], []
        depth = 0
        while left.size:
            keys = at[left] * 256 + flat[starts[left] + depth]
            fresh = np.concatenate(([True], keys[1:] != keys[:-1]))
            made, own = self._levels[-1], keys[fresh]
            bytes_.append(own % 256)
            parents.append(own // 256)
            counts.append(np.bincount(parents[-1] - self._levels[-2], minlength=made - self._levels[-2]))
            at[left] = made + np.cumsum(fresh) - 1
            depth += 1
            over = sizes[left] == depth
            self._node[ids[left[over]]] = at[left[over]]
            self._levels.append(made + own.size)
            left = left[~over]
        self._bytes, self._parents = np.concatenate(bytes_).astype(np.int32), np.concatenate(parents).astype(np.int32)
        self._count = np.concatenate(counts) if counts else np.zeros(0, np.int64)
        self._first = 1 + np.cumsum(self._count) - self._count

    def __len__(self) -> int:
        return len(self._bytes)

    def reached(self, automaton: Automaton, state: int) -> np.ndarray:
        """(tokens,) int32: the state after each token, DEAD where it cannot come."""
        found = np.zeros(len(self) + 1, np.int32)  # by node; the last is of tokens that are not in the tree
        found[0] = state
        for above, first, end in zip(self._levels, self._levels[1:], self._levels[2:], strict=False):
            alive = np.flatnonzero(found[above:first])
            if not alive.size:
                break
            if 4 * alive.size > first - above:
                nodes = slice(first, end)  # all of the level: what is after DEAD is DEAD
            else:
                alive += above
                counts = self._count[alive]
                past = np.cumsum(counts)
                nodes = np.repeat(self._first[alive] - (past - counts), counts) + np.arange(int(past[-1]) if past.size else 0)
            states = found[self._parents[nodes]]
            automaton.rows(states)
            found[nodes] = automaton.table.reshape(-1)[states * 256 + self._bytes[nodes]]
        return found[self._node]
