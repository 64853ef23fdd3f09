"""What was learned from something: patterns and policies, by the ``derived`` edges of the graph."""

import json
from collections.abc import Iterable, Set
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .unified import UnifiedMemory

LEARNED = ("patterns", "policies")
WORDLESS = "Learned from what was forgotten, and from something that has no words."

# Of what is derived from one of the ids, with whether it is also derived from something else.
DERIVED = f"""SELECT e.source, max(e.target NOT IN (SELECT value FROM json_each(?1))) FROM edges AS e
    WHERE e.relation = 'derived' AND e.source IN (
        SELECT d.source FROM json_each(?1) AS j JOIN edges AS d ON d.target = j.value AND d.relation = 'derived'
        JOIN records AS r ON r.id = d.source WHERE r.collection IN {LEARNED})
    AND e.source NOT IN (SELECT value FROM json_each(?1)) GROUP BY e.source ORDER BY e.source"""
TEXT = "SELECT text FROM records WHERE id = ?1 UNION ALL SELECT title FROM documents WHERE id = ?1"


def learned_from(memory: "UnifiedMemory", ids: Set[str]) -> list[str]:
    """What was learned from these alone, and from what was: ids, in the order in which they are found."""
    found: list[str] = []
    while more := [id for id, others in _derived(memory, {*ids, *found}) if not others]:
        found += more
    return found


def blended(memory: "UnifiedMemory", ids: Set[str]) -> list[str]:
    """What was learned from these and from something else."""
    return [id for id, _ in _derived(memory, ids)]


def cut(memory: "UnifiedMemory", learned: Iterable[str], ids: Set[str]) -> None:
    """Gives what stays the words of its earliest other source, where its own are of one that goes. Its centre stays as it is."""
    for id in learned:
        sources = sorted(memory.graph.edges(id, "derived", "out"), key=lambda edge: edge.created_at)
        if sources[0].target in ids and memory.get(id).collection == "patterns":
            texts = (memory.driver.query(TEXT, [edge.target]) for edge in sources if edge.target not in ids)
            text = next((str(rows[0][0]) for rows in texts if rows), WORDLESS)
            memory.revise(id, text=text)


def _derived(memory: "UnifiedMemory", ids: Set[str]) -> list[tuple[str, bool]]:
    rows = memory.driver.query(DERIVED, [json.dumps(sorted(ids))])
    return [(str(id), bool(others)) for id, others in rows]
