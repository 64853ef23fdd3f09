"""Evidence recall on LoCoMo conversations, through the public API: ``python -m tests.bench.locomo --data FILE [--out FILE]``.

Each conversation goes into a memory of its own, a record per turn ("Ann: what she said (a photo of ...)"), each turn linked to the one
before it. Each question is searched in the three modes; recall@k is the share of its evidence turns among the first k hits, averaged
over all questions that name evidence. The data are under CC BY-NC 4.0, for evaluation only, and no part of the project.
"""

import argparse
import asyncio
import json
import re
import statistics
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pyruvllm.embed import open_embedder
from pyruvllm.embed.embedder import Embedder
from pyruvllm.memory.graph import Edge
from pyruvllm.memory.unified import UnifiedMemory
from pyruvllm.storage import open_driver
from pyruvllm.types import Draft

DEPTHS = (5, 10, 25, 50)
MODES = ("text", "vector", "hybrid")
KINDS = {1: "multi", 2: "temporal", 3: "open", 4: "single", 5: "adversarial"}
COLLECTION = "turns"


def sessions(conversation: dict[str, Any]) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """(time as written, turns) of each session, in order."""
    number = 1
    while f"session_{number}_date_time" in conversation:
        yield conversation[f"session_{number}_date_time"], conversation.get(f"session_{number}", [])
        number += 1


def draft(turn: dict[str, Any], said: str) -> Draft:
    caption = f" ({turn['blip_caption']})" if turn.get("blip_caption") else ""
    return Draft(f"{turn['speaker']}: {turn['text']}{caption}", metadata={"turn": turn["dia_id"], "time": said})


async def remember(memory: UnifiedMemory, conversation: dict[str, Any]) -> None:
    for said, turns in sessions(conversation):
        records = await memory.add(COLLECTION, [draft(turn, said) for turn in turns])
        memory.graph.link_many(Edge(later.id, earlier.id, "follows") for earlier, later in zip(records, records[1:], strict=False))


def questions(sample: dict[str, Any]) -> Iterator[tuple[str, str, set[str]]]:
    """(kind, question, evidence turns); those without evidence that exists are left out."""
    known = {turn["dia_id"] for _, turns in sessions(sample["conversation"]) for turn in turns}
    for entry in sample["qa"]:
        named = {found for text in entry["evidence"] for found in re.findall(r"D\d+:\d+", text)}
        if named & known:
            yield KINDS[entry["category"]], entry["question"], named & known


async def measure(samples: list[dict[str, Any]], embedder: Embedder) -> dict[str, Any]:
    found: dict[str, dict[str, list[list[float]]]] = {mode: {} for mode in MODES}  # mode -> kind -> recall at each depth per question
    took: dict[str, list[float]] = {mode: [] for mode in MODES}
    for sample in samples:
        memory = await UnifiedMemory.open(await open_driver(":memory:"), embedder)
        await remember(memory, sample["conversation"])
        for kind, question, evidence in questions(sample):
            vector = (await embedder.embed([question]))[0]
            for mode in MODES:
                start = time.perf_counter()
                hits = memory.search_with(question, vector, DEPTHS[-1], collections=COLLECTION, mode=mode)
                took[mode].append((time.perf_counter() - start) * 1000)
                turns = [hit.metadata["turn"] for hit in hits]
                found[mode].setdefault(kind, []).append([len(evidence & set(turns[:depth])) / len(evidence) for depth in DEPTHS])
        await memory.close()
    return {
        mode: {
            "recall": table([row for rows in kinds.values() for row in rows]),
            "kinds": {kind: table(rows) for kind, rows in sorted(kinds.items())},
            "questions": sum(map(len, kinds.values())),
            "median_ms": round(statistics.median(took[mode]), 3),
        }
        for mode, kinds in found.items()
    }


def table(rows: list[list[float]]) -> dict[str, float]:
    """Percent at each depth."""
    return {f"@{depth}": round(100 * statistics.fmean(column), 1) for depth, column in zip(DEPTHS, zip(*rows, strict=True), strict=True)}


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="LoCoMo's JSON file")
    parser.add_argument("--out", type=Path, help="where the JSON goes besides the screen")
    given = parser.parse_args()
    result = await measure(json.loads(given.data.read_text()), await open_embedder())
    text = json.dumps(result, indent=2)
    if given.out:
        given.out.write_text(text + "\n")
    sys.stdout.write(text + "\n")


if __name__ == "__main__":
    asyncio.run(main())
