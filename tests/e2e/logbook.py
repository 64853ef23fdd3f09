"""A notebook whose log has a history: ratings, failures, spikes, a hold. Made natively, to be imported by the page."""

from pathlib import Path

import pyruvllm
from pyruvllm.memory.witness import WitnessEntry
from pyruvllm.types import ErrorInfo, Latency, RoutingDecision

HOUR = 3600 * 1000
ROUTING = RoutingDecision("350M", 2048, 0.7, 0.9, 0.8, (0.7, 0.2, 0.1), "some-policy")
QUESTIONS = (
    "When does the lease end?",
    "What oil does the lathe need?",
    "Which hive swarmed in May?",
    "What may Jonas not eat?",
    "When is high tide in the harbour?",
)
FAILED = {7: "QuotaError", 19: "ModelError", 31: "QuotaError", 40: "QuotaError"}
SPIKES = {1: 4000.0, 2: 2500.0}  # milliseconds


def entries(now: int) -> list[WitnessEntry]:
    """48 of the last three days, the newest first."""
    made = []
    for n in range(48):
        total = SPIKES.get(n, 100.0 + 7 * (n % 9))
        made.append(
            WitnessEntry(
                request_id=f"00000000-0000-4000-8000-{n:012d}",
                session_id=f"talk-{n % 4}",
                query=QUESTIONS[n % 5] if n not in FAILED else f"What is the weather like in {n} days?",
                routing_decision=ROUTING,
                model_used="none" if n in FAILED else ("350M" if n % 3 else "extractive"),
                latency=Latency(12.0, 5.0, 0.5, 0.0, total - 17.5, total),
                context_doc_ids=("a", "b"),
                quality_score=None if n % 3 == 0 or n in FAILED else (0.2 if n % 8 == 5 else 0.9),
                timestamp=now - n * HOUR * 3 // 2 - 60_000 if n > 3 else now - n * 10 * 60_000 - 60_000,
                error=ErrorInfo(FAILED[n], "the disk is full" if FAILED[n] == "QuotaError" else "no such model") if n in FAILED else None,
            )
        )
    return made


async def logbook(path: Path) -> bytes:
    """The notebook as an exported file."""
    async with await pyruvllm.open(path) as llm:
        await llm.remember("The lease ends on 31 January 2029.", title="Lease")
        for entry in reversed(entries(llm.config.clock.now_ms())):
            [embedding] = await llm.memory.embedder.embed([entry.query])
            llm.witness.record(WitnessEntry(**{**vars(entry), "query_embedding": embedding, "response_embedding": embedding}))
        return await llm.export()
