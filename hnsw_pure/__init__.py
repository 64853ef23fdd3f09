"""A vector index in pure numpy: the nearest of many vectors, exactly or through an HNSW graph, with real deletion and small saves.

    from hnsw_pure import HNSW
    index = HNSW(768)
    index.add(ids, vectors)
    hits = index.search(queries, k=10, where=allowed_ids)
"""

from .base import SearchResult, VectorIndex
from .brute import BruteForce
from .diversity import diversify
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
from .explain import Explanation
from .index import HNSW
from .segments import Changes
from .statistics import LayerStatistics, Statistics

__all__ = [
    "HNSW",
    "BruteForce",
    "Changes",
    "CorruptSegmentError",
    "DimensionError",
    "DuplicateIdError",
    "EfError",
    "Explanation",
    "HNSWError",
    "InvalidIdError",
    "LayerStatistics",
    "NewerSegmentError",
    "NonFiniteError",
    "ParameterError",
    "SearchResult",
    "SegmentError",
    "Statistics",
    "UnknownIdError",
    "VectorIndex",
    "ZeroVectorError",
    "diversify",
]
