"""What can be asked of the unified memory. Bound by the fixture ``open_memory`` of ``tests.contracts.stores``."""

from dataclasses import replace

import numpy as np
import pytest

from pyruvllm.errors import ConfigError, NotFoundError, SpaceError
from pyruvllm.types import Draft
from tests.contracts.memory import SMALL, hoard, ids
from tests.contracts.stores import vector
from tests.contracts.writeback import HandClock


class SearchContract:
    """Everything that can be asked beside the plain search, over collections whose indexes are of either kind."""

    async def filled(self, open_memory):
        """ "large" is a graph, "small" a scan; b0 ... b9 of "bare" have no vector."""
        memory = await open_memory(config=replace(SMALL, clock=HandClock()))
        memory.put("large", hoard(40))
        memory.put("small", [replace(draft, id=f"s{place}", vector=vector(200 + place)) for place, draft in enumerate(hoard(9))])
        memory.put("bare", [Draft(f"matter number {place}, bare", f"b{place}") for place in range(10)])
        await memory.grown()
        assert [memory.collection(name).index.kind for name in ("large", "small")] == ["hnsw", "exact"]
        return memory

    def cosines(self, memory, query, names=("large", "small")):
        """id -> cosine, best first, by the rows."""
        rows = memory.driver.query("SELECT r.id, r.collection FROM records AS r JOIN vectors AS v ON v.number = r.number")
        every = {id: float(memory.vector(id) @ query) for id, name in rows if name in names}
        return dict(sorted(every.items(), key=lambda pair: -pair[1]))

    async def test_several_collections_are_merged_by_score(self, open_memory):
        memory = await self.filled(open_memory)
        for seed in (1, 30, 204, 999):
            truth = self.cosines(memory, vector(seed))
            for names in (("large", "small"), ("small", "large", "nowhere", "small"), None):
                hits = memory.search_with(None, vector(seed), 12, collections=names)
                assert ids(hits) == list(truth)[:12]
                assert [hit.score for hit in hits] == pytest.approx(list(truth.values())[:12], abs=1e-4)
                assert all(hit.collection == ("small" if hit.id.startswith("s") else "large") for hit in hits)
        everywhere = await memory.search("matter number 3", 59, collections=None)
        assert {hit.collection for hit in everywhere} == {"large", "small", "bare"} and len(everywhere) == 59

    async def test_each_collection_is_asked_for_its_own_space(self, open_memory):
        memory = await self.filled(open_memory)
        memory.driver.execute("UPDATE collections SET space = 'older@1/768' WHERE name = 'small'")
        await memory.reload()
        assert len(memory.search_with(None, vector(1), 5, collections="large")) == 5
        for names in (None, ("large", "small")):
            with pytest.raises(SpaceError, match="'small' holds vectors of older@1/768"):
                memory.search_with(None, vector(1), 5, collections=names)
            with pytest.raises(SpaceError, match="small"):
                memory.more_like("h1", collections=names)
        assert len(memory.search_with("matter", vector(1), 59, collections=None, mode="text")) == 59
        assert ids(memory.more_like("s3", 8)) == ids(memory.more_like("s3", 8, collections="small")) and len(memory.more_like("s3", 9)) == 8

    async def test_more_like_a_record_or_several(self, open_memory):
        memory = await self.filled(open_memory)
        truth = [id for id in self.cosines(memory, vector(7), ["large"]) if id != "h7"]
        assert ids(memory.more_like("h7", 6)) == truth[:6]
        both = [id for id in self.cosines(memory, vector(7)) if id != "h7"]
        assert ids(memory.more_like(["h7"], 60, collections=None)) == both
        mean = memory.vector("h7") + memory.vector("s2")
        some = [id for id in self.cosines(memory, mean / np.linalg.norm(mean)) if id not in ("h7", "s2")]
        assert ids(memory.more_like(["h7", "s2"], 5)) == some[:5]
        assert ids(memory.more_like("h7", 5, where={"n": {"$gte": 35}})) == [id for id in truth if int(id[1:]) >= 35]
        with memory.transaction():
            memory.remove([truth[0]])
            assert ids(memory.more_like("h7", 3)) == truth[1:4]
        with pytest.raises(NotFoundError, match="nobody"):
            memory.more_like("nobody")
        with pytest.raises(NotFoundError, match="'b3' has no vector"):
            memory.more_like("b3")
        with pytest.raises(ConfigError):
            memory.more_like([])

    async def test_within_is_everything_near_enough_and_nothing_else(self, open_memory):
        memory = await self.filled(open_memory)
        for names, bound in ((["large"], 0.03), (["small", "large"], -0.01), (["small", "large"], 0.999), (["bare"], -1.0)):
            truth = {id: cosine for id, cosine in self.cosines(memory, vector(7), names).items() if cosine >= bound}
            hits = await memory.within(vector(7), bound, collections=names)
            assert ids(hits) == list(truth) and [hit.why.vector_rank for hit in hits] == list(range(1, len(truth) + 1))
        assert len(await memory.within(vector(7), -1.0, collections=None)) == 49
        assert ids(await memory.within("matter", -1.0, where={"n": 5}, collections=None)) in (["h5", "s5"], ["s5", "h5"])
        assert await memory.within(vector(7), 0.5, collections=("nowhere",)) == []
        for wrong in (True, 1.5, "near", float("nan")):
            with pytest.raises(ConfigError, match="similarity"):
                await memory.within(vector(7), wrong)

    async def test_diverse_hits_are_chosen_for_what_they_add(self, open_memory):
        memory = await open_memory()
        query = vector(1)
        near, other = (query + 0.4 * vector(2)), (query + 0.9 * vector(3))
        for name, row in (("best", query + 0.1 * vector(4)), ("twin", query + 0.11 * vector(4)), ("near", near), ("other", other)):
            memory.put("documents", [Draft(f"matter {name}", name, vector=row / np.linalg.norm(row))])
        memory.put("documents", [Draft("matter bare", "bare")])
        plain = memory.search_with(None, query, 4)
        assert ids(plain) == ids(memory.search_with(None, query, 4, diversity=0.0)) == ["best", "twin", "near", "other"]
        diverse = memory.search_with(None, query, 3, diversity=0.6)
        assert ids(diverse) == ["best", "other", "near"], "the twin says nothing new"
        assert {hit.id: hit.score for hit in diverse}.items() <= {hit.id: hit.score for hit in plain}.items()
        assert set(ids(memory.search_with("matter", query, 5, diversity=0.5))) == {"best", "twin", "near", "other", "bare"}
        assert ids(memory.more_like("best", 2, diversity=0.7))[0] == "twin"
        for wrong in (-0.1, 1.1, True, "much"):
            with pytest.raises(ConfigError, match="diversity"):
                memory.search_with(None, query, 3, diversity=wrong)

    async def test_statistics_and_an_explanation_of_each_index(self, open_memory):
        memory = await self.filled(open_memory)
        graph, scan = (memory.collection(name).index.statistics() for name in ("large", "small"))
        assert graph.vectors == 40 and graph.layers[0].nodes == 40 and graph.reachable == 1.0
        assert scan.vectors == 9 and not scan.layers and sum(scan.bytes.values()) >= 9 * 768 * 4
        stats = memory.stats()["collections"]
        assert (stats["large"]["index"], stats["large"]["codec"], stats["large"]["unsettled"]) == ("hnsw", "float32", 0)
        assert stats["small"]["index"] == "exact" and stats["small"]["growing"] is None
        told = memory.explain(vector(7), 5, collection="large")
        assert told.ids[0] == memory.records.places(["h7"])[0][0] and told.why and 0 < told.looked_at <= 40
        assert memory.explain(vector(203), 5, collection="small").looked_at == 9
        with pytest.raises(NotFoundError, match="nowhere"):
            memory.explain(vector(7), collection="nowhere")
