"""What embedding costs, natively and in Chromium, by the same code on both hosts.

    ./build.sh bench embed

Milliseconds a text for a question, a sentence and a passage, alone and in lists, and what splitting and opening cost. Prints a table
and writes tests/bench/out/embed.json.
"""

from tests.bench import hosts
from tests.bench.report import report


async def measure(given):
    """Runs on either host, so it imports for itself. Returns figures by name."""
    import statistics
    import time

    from pyruvllm.config import ChunkConfig
    from pyruvllm.embed import open_embedder
    from pyruvllm.embed.chunk import chunks

    nouns = "harbour lathe boiler orchard ferry violin kiln greenhouse archive bakery observatory canal loom engine bridge".split()
    verbs = "stood turned froze leaked hummed moved stopped waited shone".split()

    def text(words, seed):
        made = [
            f"The {nouns[(seed + 7 * n) % 15]} {verbs[(seed + 5 * n) % 9]} near the {nouns[(seed + 3 * n) % 15]}"
            for n in range(1 + words // 6)
        ]
        return " ".join(". ".join(made).split()[:words])

    async def cost(words, many, rounds):
        """Median of rounds, ms a text."""
        times = []
        for number in range(rounds):
            texts = [text(words, 31 * number + place) for place in range(many)]
            begun = time.perf_counter()
            await embedder.embed(texts)
            times.append((time.perf_counter() - begun) * 1000 / many)
        return round(statistics.median(times), 2)

    begun = time.perf_counter()
    embedder = await open_embedder()
    figures = {"open, ms": round((time.perf_counter() - begun) * 1000)}
    await embedder.embed([text(20, 1)])
    for label, words in (("question of 10 words", 10), ("sentence of 30 words", 30), ("passage of 140 words", 140)):
        figures[f"{label} ({embedder.count(text(words, 1))} tokens), alone, ms"] = await cost(words, 1, 15)
        figures[f"{label}, 24 at once, ms each"] = await cost(words, 24, 3)
    book = "\n\n".join(text(200, seed) for seed in range(50))
    begun = time.perf_counter()
    passages = chunks(book, embedder, ChunkConfig())
    figures[f"splitting {len(book)} characters into {len(passages)} passages, ms"] = round((time.perf_counter() - begun) * 1000)
    return figures


def main() -> None:
    figures = {f"native: {name}": value for name, value in hosts.native(measure, {}).items()}
    report("embed", figures | {f"Chromium: {name}": value for name, value in hosts.in_chromium(measure, {}).items()})


if __name__ == "__main__":
    main()
