from hnsw_pure import HNSW, BruteForce
from tests.contracts.index import IndexContract


class TestBruteForce(IndexContract):
    make = BruteForce


class TestHNSW(IndexContract):
    @staticmethod
    def make(dim, metric="cosine"):
        return HNSW(dim, metric=metric)


class TestNarrowHNSW(IndexContract):
    """So few links that lists overflow, are pruned, and the tree has to hold the graph together."""

    @staticmethod
    def make(dim, metric="cosine"):
        return HNSW(dim, M=2, ef_construction=8, metric=metric)
