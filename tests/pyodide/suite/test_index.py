from hnsw_pure import HNSW, BruteForce
from tests.contracts.index import IndexContract


class TestBruteForce(IndexContract):
    make = BruteForce


class TestHNSW(IndexContract):
    @staticmethod
    def make(dim, metric="cosine"):
        return HNSW(dim, M=4, ef_construction=24, metric=metric)
