"""GGUF: the file format of ggml's models, read from wherever its bytes come from, and written.

Format: ggml's docs/gguf.md, versions 2 and 3, little-endian. ``read_head`` gives metadata and the tensor directory of the first bytes of a
file; ``GgufWriter`` writes one; ``dequantize`` widens the data of a tensor.
"""

from .head import Head, Incomplete, Tensor, read_head
from .kinds import KINDS, Kind, ValueType
from .widen import dequantize
from .writer import GgufWriter

__all__ = ["KINDS", "GgufWriter", "Head", "Incomplete", "Kind", "Tensor", "ValueType", "dequantize", "read_head"]
