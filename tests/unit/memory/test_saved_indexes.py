"""What a saved index costs a commit, and what a crash leaves of it."""

import shutil
from dataclasses import replace

import pytest

from pyruvllm.config import Config, IndexConfig
from pyruvllm.errors import QuotaError
from pyruvllm.memory import upkeep
from pyruvllm.memory.segments import FOLDED_AT
from pyruvllm.types import Draft
from tests.contracts.stores import opening, vector
from tests.contracts.writeback import HandClock

COUNT = 320


@pytest.fixture
async def open_memory(tmp_path):
    async with opening(lambda name: str(tmp_path / f"{name}.db")) as open_memory:
        yield open_memory


def drafts(count, first=0):
    return [Draft(f"text {place}", f"d{place}", vector=vector(place)) for place in range(first, first + count)]


async def grown(open_memory, name="main"):
    config = Config(index=IndexConfig(m=8, ef_construction=20, exact_below=COUNT // 2), clock=HandClock())
    memory = await open_memory(name, config=config)
    if not memory.count("documents"):
        memory.put("documents", drafts(COUNT))
        await memory.grown()
    await memory.flush()
    assert memory.collection("documents").index.kind == "hnsw"
    return memory


def found(memory):
    """Five hits for each of some records, itself first. A graph that was linked in another order may differ in the others."""
    return [[hit.id for hit in memory.search_with(None, vector(place), 5)] for place in range(0, COUNT, 17)]


def nearest(memory):
    return [hits[0] for hits in found(memory)]


class Written:
    """Counts the bytes of parameters that go into statements, until it is told to let none pass any more."""

    def __init__(self, driver, monkeypatch):
        self.bytes, self.statements, self.fail_at = 0, 0, None
        self._execute, self._executemany = driver.execute, driver.executemany
        monkeypatch.setattr(driver, "execute", lambda sql, parameters=(): self._count(sql, [parameters], self._execute, parameters))
        monkeypatch.setattr(driver, "executemany", self.executemany)

    def executemany(self, sql, rows):
        rows = list(rows)
        return self._count(sql, rows, self._executemany, rows)

    def _count(self, sql, rows, run, parameters):
        if sql.startswith(("INSERT", "UPDATE", "DELETE")):
            self.statements += 1
            if self.statements == self.fail_at:
                raise QuotaError("the disk is full")
            self.bytes += sum(len(value) if isinstance(value, bytes | str) else 8 for row in rows for value in row)
        return run(sql, parameters)


def segments(memory):
    return dict(memory.driver.query("SELECT name, content FROM index_segments WHERE collection = 'documents'"))


async def test_a_commit_writes_what_it_changes_and_no_segment(open_memory, monkeypatch):
    memory = await grown(open_memory)
    before, written = segments(memory), Written(memory.driver, monkeypatch)
    memory.put("documents", drafts(1, first=COUNT))
    await memory.grown()
    assert memory.collection("documents").index.unsettled == 0, "it is linked"
    assert written.bytes < 2 * 768 + 500, "the vector, its row, and that it changed"
    assert segments(memory) == before and memory.driver.query("SELECT count(*) FROM index_changes") == [(1,)]


async def test_segments_are_written_once_enough_has_changed_and_only_those_that_did(open_memory, monkeypatch):
    memory = await grown(open_memory)
    before = segments(memory)
    memory.put("documents", drafts(FOLDED_AT, first=COUNT))
    await memory.grown()
    assert segments(memory) == before
    written = Written(memory.driver, monkeypatch)
    memory.put("documents", drafts(1, first=COUNT + FOLDED_AT))
    row = written.bytes
    await memory.grown()
    after = segments(memory)
    changed = {name for name in after if after[name] != before.get(name)}
    assert "head" in changed and "ids/0" not in changed and memory.driver.query("SELECT count(*) FROM index_changes") == [(0,)]
    assert written.bytes - row < sum(len(after[name]) + 40 for name in changed) + 200


@pytest.mark.parametrize("orderly", [True, False])
async def test_what_was_durable_is_there_after_a_crash_without_building(open_memory, tmp_path, monkeypatch, orderly):
    memory = await grown(open_memory)
    for turn in range(3):
        memory.put("documents", drafts(20, first=COUNT + 20 * turn))
        memory.remove([f"d{place}" for place in range(30 * turn, 30 * turn + 20)])
        memory.revise(f"d{COUNT - 9 + turn}", vector=vector(9000 + turn))
        await memory.grown()
    await memory.flush()
    answers = found(memory)
    if orderly:
        await memory.close()
    for file in tmp_path.glob("main.db*"):
        shutil.copy(file, tmp_path / file.name.replace("main", "copy"))
    monkeypatch.setattr("pyruvllm.memory.index.VectorIndex.grow", lambda self: pytest.fail("it is built anew"))
    again = await grown(open_memory, "copy")
    index = again.collection("documents").index
    assert (index.unsettled == 0) == orderly, "a crash leaves what changed since the segments to be linked again"
    assert not orderly or found(again) == answers
    for _ in range(2):
        assert nearest(again) == [hits[0] for hits in answers] and len(index) == COUNT
        await again.grown()


async def test_a_write_of_segments_that_fails_anywhere_leaves_the_previous_state(open_memory, tmp_path, monkeypatch):
    memory = await grown(open_memory)
    memory.put("documents", drafts(FOLDED_AT, first=COUNT))
    memory.remove(["d3"])
    with monkeypatch.context() as patch:
        patch.setattr(memory.saved, "foldable", lambda collection: False)
        await memory.grown()
    await memory.flush()
    rows, answers = segments(memory), found(memory)
    collection, attempts = memory.collection("documents"), 0
    while True:
        attempts += 1
        with monkeypatch.context() as patch:
            written = Written(memory.driver, patch)
            written.fail_at = attempts
            try:
                upkeep.save(memory, collection)
                break
            except QuotaError:
                pass
        assert segments(memory) == rows and found(memory) == answers
        name = f"attempt-{attempts}"
        await memory.flush()
        for file in tmp_path.glob("main.db*"):
            shutil.copy(file, tmp_path / file.name.replace("main", name))
        assert nearest(await grown(open_memory, name)) == [hits[0] for hits in answers]
    assert attempts > 3 and segments(memory) != rows
    await memory.close()
    again = await grown(open_memory)
    assert found(again) == answers and again.collection("documents").index.unsettled == 0


@pytest.mark.parametrize("codec", ["int8", "bit1"])
async def test_a_codec_is_kept_with_the_collection_and_changed_behind_what_goes_on(open_memory, codec):
    memory = await grown(open_memory)
    exact = nearest(memory)
    index = memory.collection("documents").index
    await memory.recode("documents", codec)
    assert index.codec == "float32" and index.recoded
    memory.put("documents", drafts(10, first=COUNT))  # meanwhile
    memory.remove([f"d{COUNT - 1}"])
    assert nearest(memory) == exact
    await memory.grown()
    assert index.codec == codec and index.kind == "hnsw" and len(index) == COUNT + 9
    assert nearest(memory) == exact
    hit = memory.search_with(None, vector(5), 1)[0]
    assert hit.id == "d5" and hit.score == pytest.approx(1, abs=1e-2 if codec == "int8" else 1e-5), "1-bit codes are scored by the rows"
    assert any(name.startswith("codes/") for name in segments(memory)) and not any(name.startswith("vectors/") for name in segments(memory))
    answers = found(memory)
    await memory.close()
    again = await grown(open_memory)
    index = again.collection("documents").index
    assert index.codec == index.wanted == codec and not index.recoded and found(again) == answers
    await again.recode("documents", "auto")
    await again.grown()
    assert index.codec == codec, "automatic is content with what there is"


async def test_the_codec_of_the_config_is_that_of_new_collections(open_memory):
    config = Config(index=IndexConfig(m=8, ef_construction=20, exact_below=300, codec="int8"), clock=HandClock())
    memory = await open_memory(config=config)
    memory.put("documents", drafts(310))
    await memory.grown()
    assert memory.collection("documents").index.codec == "int8"
    await memory.close()
    memory = await open_memory(config=replace(config, index=replace(config.index, codec="float32")))
    await memory.grown()
    assert memory.collection("documents").index.codec == "int8", "kept with the collection"
    memory.put("others", [replace(draft, id=f"{draft.id}'") for draft in drafts(301)])
    await memory.grown()
    assert memory.collection("others").index.codec == "float32"
