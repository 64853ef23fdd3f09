"""What every embedder keeps, with a cache in front or without. The fixture ``embedder`` is given by whoever binds the class."""

import asyncio

import numpy as np
import pytest

from pyruvllm import storage
from pyruvllm.config import DIMENSION, Clock
from pyruvllm.embed import CachedEmbedder
from pyruvllm.embed.projection import project
from pyruvllm.errors import EmbeddingError, ReadOnlyError
from tests.contracts.golden_embeddings import INT8, REFERENCE, TEXTS, VERSION

SAME = 0.9995  # least cosine of one text embedded twice in different company: padding changes the order of float32 sums, and so some codes


def cosines(a, b):
    return (a * b).sum(axis=1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)


class Later(Clock):
    """A clock that a test moves on."""

    now = 1_000_000

    def now_ms(self):
        return self.now


@pytest.mark.asset
class EmbedderContract:
    async def test_shape_length_and_precision(self, embedder):
        vectors = await embedder.embed(TEXTS)
        assert vectors.shape == (len(TEXTS), DIMENSION) and vectors.dtype == np.float32
        assert np.abs(np.linalg.norm(vectors, axis=1) - 1).max() < 1e-3
        assert (vectors.astype(np.float16).astype(np.float32) == vectors).all()

    async def test_no_texts_no_vectors(self, embedder):
        assert (await embedder.embed([])).shape == (0, DIMENSION)

    async def test_space_names_this_model(self, embedder):
        assert embedder.space.key == f"all-MiniLM-L6-v2@{VERSION}/{DIMENSION}"

    async def test_same_vectors_as_this_model_made_elsewhere(self, embedder):
        assert cosines(await embedder.embed(TEXTS), project(INT8)).min() >= 0.999

    async def test_close_to_the_published_float32_model(self, embedder):
        found = cosines(await embedder.embed(TEXTS), project(REFERENCE))
        assert found.mean() >= 0.99 and found.min() >= 0.97

    async def test_meaning_not_words(self, embedder):
        question, answer, other = await embedder.embed([TEXTS[0], TEXTS[1], "How do I get my cat back?"])
        assert question @ answer > 0.4 and question @ answer > other @ answer + 0.2

    async def test_order_and_company_do_not_matter(self, embedder):
        together = await embedder.embed(TEXTS)
        turned = (await embedder.embed(TEXTS[::-1]))[::-1]
        alone = np.concatenate([await embedder.embed([text]) for text in TEXTS])
        assert cosines(together, turned).min() >= SAME
        assert cosines(together, alone).min() >= SAME

    async def test_the_same_call_gives_the_same_bits(self, embedder):
        assert ((await embedder.embed(TEXTS)) == (await embedder.embed(TEXTS))).all()

    async def test_case_and_white_space_do_not_matter(self, embedder):
        one, two = await embedder.embed(["Where is the station?", "  WHERE is\n\tthe station ?"])
        assert one @ two > SAME

    @pytest.mark.parametrize("text", ["", " \n\t", "\u200b\x07"])
    async def test_text_without_words_is_refused_with_its_place(self, embedder, text):
        with pytest.raises(EmbeddingError, match="text 2 of 4"):
            await embedder.embed(["one", "two", text, "four"])

    async def test_one_str_is_refused(self, embedder):
        with pytest.raises(EmbeddingError, match="list"):
            await embedder.embed("text")

    async def test_any_unicode_has_a_vector(self, embedder):
        texts = ["\U0001f9d1\u200d\U0001f680", "𝔘𝔫𝔦𝔠𝔬𝔡𝔢", "\ud800 lone", "ﬁ", "a" * 5000, "\U000e0041x", "한국어"]
        assert np.isfinite(await embedder.embed(texts)).all()

    async def test_the_end_of_a_long_text_counts(self, embedder):
        filler = "The committee met again on Tuesday and talked about the budget. " * 40  # over 450 tokens
        about_whales = filler + "Whales sleep with one half of the brain at a time. " * 20
        plain, whales, probe = await embedder.embed([filler, about_whales, "How do whales sleep?"])
        assert probe @ whales > probe @ plain + 0.1

    async def test_long_text_is_the_mean_of_its_windows(self, embedder):
        words = "river stone cloud window garden winter letter music " * 60  # one token a word, 480
        one, two = " ".join(words.split()[:240]), " ".join(words.split()[240:])
        whole, first, second = await embedder.embed([words, one, two])
        mean = (first + second) / np.linalg.norm(first + second)
        assert whole @ mean > SAME

    async def test_count_and_spans_agree(self, embedder):
        for text in TEXTS:
            spans = embedder.spans(text)
            assert embedder.count(text) == len(spans)
            assert all(0 <= start < end <= len(text) for start, end in spans)
            assert spans == sorted(spans)

    async def test_progress_ends_at_the_number_of_texts(self, embedder):
        seen = []
        texts = [f"{text} {place} of the progress test" for place, text in enumerate(TEXTS)]
        await embedder.embed(texts, progress=lambda done, total: seen.append((done, total)))
        assert seen == sorted(seen) and seen[-1] == (len(texts), len(texts))
        assert len(seen) > 1

    async def test_others_run_between_batches_and_a_cancelled_call_stops_there(self, embedder):
        reports = []
        texts = [f"{'a rather long text that fills a batch ' * 20} {place} of the cancelled" for place in range(12)]
        job = asyncio.ensure_future(embedder.embed(texts, progress=lambda done, total: reports.append(done)))
        while not reports:
            await asyncio.sleep(0)
        assert not job.done()
        job.cancel()
        with pytest.raises(asyncio.CancelledError):
            await job
        assert reports[-1] < len(texts)
        assert (await embedder.embed(["still well"])).shape == (1, DIMENSION)


@pytest.mark.asset
class CacheContract:
    """The cache over ``embedder``, in a database in memory."""

    @pytest.fixture
    async def driver(self):
        driver = await storage.open_driver(":memory:")
        storage.migrate(driver)
        yield driver
        await driver.close()

    async def test_a_hit_equals_a_fresh_vector(self, embedder, driver):
        cached = CachedEmbedder(embedder, driver)
        fresh = await cached.embed(TEXTS)
        assert (cached.hits, cached.misses) == (0, len(TEXTS))
        again = CachedEmbedder(embedder, driver)
        assert ((await again.embed(TEXTS[::-1]))[::-1] == fresh).all()
        assert (again.hits, again.misses) == (len(TEXTS), 0)

    async def test_mixed_and_repeated_texts_keep_their_order(self, embedder, driver):
        cached = CachedEmbedder(embedder, driver)
        await cached.embed(["two"])
        vectors = await cached.embed(["one", "two", "three", "one"])
        assert (cached.hits, cached.misses) == (2, 3)  # "two" was there, "one" is embedded once
        assert cosines(vectors, await embedder.embed(["one", "two", "three", "one"])).min() >= SAME

    async def test_another_space_is_another_entry(self, embedder, driver):
        await CachedEmbedder(embedder, driver).embed(["text"])
        driver.execute("UPDATE embeddings SET space = 'another@model/768'")
        cached = CachedEmbedder(embedder, driver)
        await cached.embed(["text"])
        assert cached.misses == 1

    async def test_bounded_and_the_longest_unused_go(self, embedder, driver):
        clock = Later()
        cached = CachedEmbedder(embedder, driver, bound=8, clock=clock)
        for number in range(8):
            clock.now += 1
            await cached.embed([f"text {number}"])
        clock.now += 10_000_000
        await cached.embed(["text 0"])
        await cached.embed(["text 8"])
        ((kept,),) = driver.query("SELECT count(*) FROM embeddings")
        assert kept == 4
        before = cached.misses
        await cached.embed(["text 0", "text 8", "text 7", "text 6"])
        assert cached.misses == before
        await cached.embed(["text 1"])
        assert cached.misses == before + 1

    async def test_a_cache_that_may_not_write_only_reads(self, embedder, driver):
        await CachedEmbedder(embedder, driver).embed(["known"])

        class Reader:
            """The same database as a second tab has it."""

            writable = False
            query = driver.query

            def execute(self, *_):
                raise ReadOnlyError("another tab is the writer")

            executemany = transaction = execute

        clock = Later()
        clock.now = Clock().now_ms() + 100_000_000
        cached = CachedEmbedder(embedder, Reader(), clock=clock)
        assert (await cached.embed(["known", "unknown"])).shape == (2, DIMENSION)
        assert (cached.hits, cached.misses) == (1, 1)

    async def test_a_refused_text_leaves_no_trace(self, embedder, driver):
        cached = CachedEmbedder(embedder, driver)
        await cached.embed(["known"])
        with pytest.raises(EmbeddingError, match="text 2 of 3"):
            await cached.embed(["known", "new", ""])
        assert driver.query("SELECT count(*) FROM embeddings") == [(1,)]
