"""A vector index in pure numpy: the nearest of many vectors, exactly or through an HNSW graph, with real deletion and small saves.

    from hnsw_pure import HNSW
    index = HNSW(768)
    index.add(ids, vectors)
    hits = index.search(queries, k=10, where=allowed_ids)
"""

from .base import SearchResult, VectorIndex
from .brute import BruteForce
from .errors import (
    CorruptSegmentError,
    DimensionError,
    DuplicateIdError,
    EfError,
    HNSWError,
    InvalidIdError,
    NewerSegmentError,
    NonFiniteError,
    ParameterError,
    SegmentError,
    UnknownIdError,
    ZeroVectorError,
)
from .index import HNSW
from .segments import Changes

__all__ = [
    "HNSW",
    "BruteForce",
    "Changes",
    "CorruptSegmentError",
    "DimensionError",
    "DuplicateIdError",
    "EfError",
    "HNSWError",
    "InvalidIdError",
    "NewerSegmentError",
    "NonFiniteError",
    "ParameterError",
    "SearchResult",
    "SegmentError",
    "UnknownIdError",
    "VectorIndex",
    "ZeroVectorError",
]
