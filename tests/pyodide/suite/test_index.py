from hnsw_pure import HNSW, BruteForce
from tests.contracts.accelerated import on_kernels
from tests.contracts.index import IndexContract


class TestBruteForce(IndexContract):
    make = BruteForce


class TestHNSW(IndexContract):
    @staticmethod
    def make(dim, metric="cosine"):
        return HNSW(dim, M=4, ef_construction=24, metric=metric)


class TestBruteForceOnKernels(IndexContract):
    make = on_kernels(BruteForce)


class TestHNSWOnKernels(IndexContract):
    @staticmethod
    def make(dim, metric="cosine"):
        return on_kernels(HNSW)(dim, M=4, ef_construction=24, metric=metric)
