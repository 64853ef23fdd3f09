"""The adapter inside LangGraph itself: graphs that run over it, and its own store in memory as the oracle."""

from typing import TypedDict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.embeddings import DeterministicFakeEmbedding
from langgraph.graph import END, START, StateGraph
from langgraph.runtime import Runtime
from langgraph.store.base import BaseStore, GetOp, Item, ListNamespacesOp, MatchCondition, PutOp, SearchItem, SearchOp
from langgraph.store.memory import InMemoryStore

from pyruvllm.adapters.langgraph import RuvStore

LABELS = st.sampled_from(["a", "b", "c"])
NAMESPACES = st.lists(LABELS, min_size=1, max_size=3).map(tuple)
KEYS = st.sampled_from(["k1", "k2", "k3"])
SCALARS = st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from([0.5, 2.0]) | st.sampled_from(["x", "y", ""])
VALUES = st.dictionaries(
    st.sampled_from(["p", "q", "r.s"]), SCALARS | st.lists(SCALARS, max_size=2) | st.dictionaries(LABELS, SCALARS), max_size=3
)
NUMBERS = st.integers(-3, 3)
FILTERS = st.none() | st.dictionaries(
    st.sampled_from(["p", "q", "r.s"]),
    SCALARS
    | st.dictionaries(LABELS, SCALARS, min_size=1, max_size=1)
    | SCALARS.map(lambda value: {"$ne": value})
    | SCALARS.map(lambda value: {"$eq": value}),
    min_size=1,
    max_size=2,
)
ENDS = st.builds(MatchCondition, st.sampled_from(["prefix", "suffix"]), st.lists(LABELS | st.just("*"), min_size=1, max_size=2).map(tuple))
READS = st.one_of(
    st.tuples(NAMESPACES, KEYS).map(lambda given: GetOp(*given)),
    st.tuples(st.lists(LABELS, max_size=2).map(tuple), FILTERS).map(lambda given: SearchOp(*given, limit=100)),
)
PUTS = st.tuples(NAMESPACES, KEYS, VALUES).map(lambda given: PutOp(*given))
DELETES = st.tuples(NAMESPACES, KEYS).map(lambda given: PutOp(*given, None))
LISTS = st.tuples(
    st.none() | st.lists(ENDS, max_size=2).map(tuple), st.none() | st.integers(1, 3), st.integers(1, 4), st.integers(0, 2)
).map(lambda given: ListNamespacesOp(*given))
# The oracle goes on listing a namespace from which all was deleted.
BATCHES = st.lists(st.lists(READS | PUTS | DELETES, min_size=1, max_size=8), max_size=3) | st.lists(
    st.lists(PUTS | LISTS, min_size=1, max_size=8), max_size=3
)


@pytest.fixture(scope="module")
def store():
    with RuvStore.open(embedding=DeterministicFakeEmbedding(size=32)) as store:
        yield store


def told(result):
    """A result without what may differ: times, and the order of a search without a query."""
    if isinstance(result, list) and result and isinstance(result[0], Item):
        return sorted((item.namespace, item.key, repr(item.value)) for item in result)
    return (result.namespace, result.key, result.value) if isinstance(result, Item) else result


@settings(max_examples=50, deadline=None)
@given(batches=BATCHES)
def test_it_answers_as_langgraphs_own_store(store, batches):
    oracle = InMemoryStore()
    for item in store.search((), limit=10_000):
        store.delete(item.namespace, item.key)
    for ops in batches:
        assert [told(result) for result in store.batch(ops)] == [told(result) for result in oracle.batch(ops)]


def test_it_is_one_of_langgraphs(store):
    assert isinstance(store, BaseStore)
    store.put(("facts",), "k", {"text": "tea"})
    assert isinstance(store.get(("facts",), "k"), Item)
    [found] = store.search(("facts",), query='{"text": "tea"}')
    assert isinstance(found, SearchItem) and found.score == pytest.approx(1, abs=1e-3)
    assert {name for name in dir(BaseStore) if not name.startswith("_")} - set(dir(store)) == set()
    store.delete(("facts",), "k")


class State(TypedDict):
    user: str
    said: str
    known: list[str]


def remember(state: State, *, store: BaseStore) -> dict:
    place = ("users", state["user"])
    store.put(place, state["said"], {"said": state["said"]})
    return {"known": sorted(item.value["said"] for item in store.search(place))}


async def aremember(state: State, runtime: Runtime) -> dict:
    place = ("users", state["user"])
    await runtime.store.aput(place, state["said"], {"said": state["said"]})
    return {"known": sorted(item.value["said"] for item in await runtime.store.asearch(place))}


def built(node, store):
    builder = StateGraph(State)
    builder.add_node("remember", node)
    builder.add_edge(START, "remember")
    builder.add_edge("remember", END)
    return builder.compile(store=store)


async def test_graphs_remember_across_runs_by_either_way(tmp_path):
    name, embedding = str(tmp_path / "memory.db"), DeterministicFakeEmbedding(size=32)
    with RuvStore.open(name, embedding) as store:
        assert built(remember, store).invoke({"user": "marta", "said": "tea", "known": []})["known"] == ["tea"]
        assert (await built(aremember, store).ainvoke({"user": "marta", "said": "boats", "known": []}))["known"] == ["boats", "tea"]
        assert (await built(remember, store).ainvoke({"user": "jonas", "said": "bread", "known": []}))["known"] == ["bread"]
    with RuvStore.open(name, embedding) as store:
        assert built(remember, store).invoke({"user": "marta", "said": "cats", "known": []})["known"] == ["boats", "cats", "tea"]
        assert store.list_namespaces(prefix=("users",)) == [("users", "jonas"), ("users", "marta")]
