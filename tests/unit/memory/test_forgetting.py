"""What is forgotten is in no index, no segment and no file any more; and a leftover would be named."""

import numpy as np
import pytest

from pyruvllm.config import Config, IndexConfig
from pyruvllm.errors import MemoryStoreError
from pyruvllm.memory import upkeep
from pyruvllm.memory.documents import DocumentStore
from pyruvllm.memory.forgetting import Forgetting
from pyruvllm.types import Draft
from tests.contracts.stores import opening, vector
from tests.contracts.writeback import HandClock

COUNT = 320


@pytest.fixture
async def open_memory(tmp_path):
    async with opening(lambda name: str(tmp_path / f"{name}.db")) as open_memory:
        yield open_memory


async def grown(open_memory):
    config = Config(index=IndexConfig(m=8, ef_construction=20, exact_below=COUNT // 2, codec="int8"), clock=HandClock())
    memory = await open_memory("main", config=config)
    memory.put("documents", [Draft(f"text {place}", f"d{place}", vector=vector(place)) for place in range(COUNT)])
    await memory.grown()
    await memory.flush()
    return memory


def saved(memory):
    return b"".join(content for (content,) in memory.driver.query("SELECT content FROM index_segments"))


@pytest.mark.parametrize("count", [3, 60])
async def test_codes_of_what_was_removed_leave_the_saved_segments(open_memory, count):
    memory = await grown(open_memory)
    table = memory.collection("documents").index._current._table
    numbers = np.array([number for number, _ in memory.records.places([f"d{place}" for place in range(count)])])
    codes = [table.codes["codes"][slot].tobytes() for slot in table.slots(numbers)]
    assert all(code in saved(memory) for code in codes)
    memory.remove([f"d{place}" for place in range(count)])
    await upkeep.purge(memory, memory.collection("documents"))
    assert saved(memory) and not any(code in saved(memory) for code in codes)
    assert memory.driver.query("SELECT count(*) FROM index_changes") == [(0,)]
    assert not any(number in memory.collection("documents").index for number in numbers.tolist())


async def test_segments_go_at_once_while_another_graph_is_being_built(open_memory):
    memory = await grown(open_memory)
    await memory._stop_growth()
    collection = memory.collection("documents")
    collection.index.wanted = "float32"
    collection.index.grow()
    memory.remove(["d1"])
    await upkeep.purge(memory, collection)
    assert not saved(memory)
    memory.start_upkeep()
    await memory.grown()
    assert (collection.index.kind, collection.index.codec, len(collection.index)) == ("hnsw", "float32", COUNT - 1)


@pytest.mark.parametrize(
    ("leftover", "where"),
    [
        ("INSERT INTO nodes (id) VALUES ('{id}')", "nodes"),
        ("INSERT INTO postings (number, terms) VALUES ({number}, x'00')", "postings"),
    ],
)
async def test_what_a_removal_leaves_behind_is_named(open_memory, monkeypatch, leftover, where):
    memory = await open_memory("main")
    documents = DocumentStore(memory)
    document = await documents.add("Lease", "The lease ends on 31 January 2029.")
    number = memory.records.places([documents.passages(document.id)[0].id])[0][0]
    forgetting = Forgetting(memory)
    remove = forgetting._remove

    def careless(*given):
        removed = remove(*given)
        memory.driver.execute(leftover.format(id=document.id, number=number))
        return removed

    monkeypatch.setattr(forgetting, "_remove", careless)
    with pytest.raises(MemoryStoreError, match=f"left 1 rows in {where}"):
        await forgetting.forget(document=document.id)
