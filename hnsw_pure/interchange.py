"""Files of others: hnswlib's saved index, with its graph, and plain `.npy` arrays.

hnswlib (github.com/nmslib/hnswlib, `saveIndex` in hnswlib/hnswalg.h) writes the fields of its class one after another, little-endian
and unpadded, as 64-bit programs hold them:

    _HEADER      see the names in `_Header`
    elements     cur_element_count records of size_data_per_element bytes: the list on the ground (uint16 length, a byte whose lowest bit
                 marks a deleted element, a byte unused, maxM0 uint32), at offset_data the vector (dim float32), at label_offset a uint64
    upper lists  per element a uint32, the bytes that follow: for each layer from the first up a uint32 length and maxM uint32

Neither metric nor dim is in it: the metric has to be told, the dim follows from the offsets. Under cosine both keep vectors of length one.
What usearch saves is not read: its layout is that of its own version, and its vectors can be had as `.npy`.
"""

import struct
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

from .accelerate import Accelerator
from .base import VectorIndex
from .errors import CorruptSegmentError, ParameterError
from .index import HNSW

_HEADER = struct.Struct("<6QiI3QdQ")
_SLICE = 4096  # vectors at a time


class _Header(NamedTuple):
    offset_level0: int
    max_elements: int
    count: int
    size: int  # of an element's record, bytes
    label_offset: int
    offset_data: int
    top_level: int
    entry: int
    m: int  # longest list of an upper layer
    m0: int  # of the ground
    M: int
    multiplier: float
    ef_construction: int


def to_hnswlib(index: HNSW, file: str | Path | BinaryIO) -> None:
    """Writes an index, which has a vector or more, as hnswlib's `load_index` reads it. Ids become labels.

    Raises ParameterError for an empty one.
    """
    if hasattr(file, "write"):
        return _write(index, file)
    with open(file, "wb") as opened:
        _write(index, opened)


def _write(index: HNSW, file: BinaryIO) -> None:
    if not len(index):
        raise ParameterError("an empty index has no entry point, which hnswlib's file needs")
    graph, table, m = index._graph, index._table, index.M
    live = table.live()
    new = np.full(len(graph.levels) + 1, -1, np.int64)  # one more, where -1 looks
    new[live] = np.arange(len(live))
    offset_data = 4 + 4 * 2 * m
    label = offset_data + 4 * index.dim
    top, entry = int(graph.levels.max()), int(new[graph.entry])
    head = _Header(0, len(live), len(live), label + 8, label, offset_data, top, entry, m, 2 * m, m, 1 / np.log(m), index.ef_construction)
    file.write(_HEADER.pack(*head))
    for start in range(0, len(live), _SLICE):
        slots = live[start : start + _SLICE]
        records = np.zeros(len(slots), _element(head))
        records["degree"], records["links"] = _lists(graph.ground.lists(slots), new)
        records["vector"] = index.vectors(table.ids[slots])
        records["label"] = table.ids[slots]
        file.write(records.tobytes())
    for slot in live.tolist():
        height = int(graph.levels[slot])
        file.write(struct.pack("<I", height * (4 + 4 * m)))
        for layer in graph.upper[:height]:
            degrees, links = _lists(layer.lists(np.array([slot])), new)
            file.write(struct.pack("<I", degrees[0]) + links.astype("<u4").tobytes())


def _lists(held: np.ndarray, new: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Degrees (n,) and lists (n, width) of lists padded with -1, in new numbers; padded with 0, as hnswlib does."""
    degrees = (held >= 0).sum(axis=1)
    return degrees, np.where(held >= 0, new[held], 0)


def _element(head: _Header) -> np.dtype:
    dim = (head.label_offset - head.offset_data) // 4
    fields = {"degree": ("<u2", 0), "mark": ("u1", 2), "links": (("<u4", head.m0), 4)}
    fields |= {"vector": (("<f4", dim), head.offset_data), "label": ("<u8", head.label_offset)}
    names, formats = list(fields), [form for form, _ in fields.values()]
    return np.dtype({"names": names, "formats": formats, "offsets": [at for _, at in fields.values()], "itemsize": head.size})


def from_hnswlib(file: str | Path | BinaryIO, metric: str, *, accelerator: Accelerator | None = None, **settings) -> HNSW:
    """The index that hnswlib saved, with the links it has; elements it marked as deleted go.

    metric: "cosine", "ip" or "l2", as the one who made it chose; settings: of `HNSW`, but M and ef_construction, which the file has.
    Raises CorruptSegmentError where the file cannot be such an index, ParameterError, and as `HNSW.add` for its vectors.
    """
    content = file.read() if hasattr(file, "read") else Path(file).read_bytes()
    head = _read_header(content)
    records = np.frombuffer(content, _element(head), head.count, _HEADER.size)
    levels, towers = _read_towers(content, head)
    index = HNSW(records["vector"].shape[1], head.M, max(head.M, head.ef_construction), metric, accelerator=accelerator, **settings)
    ids, rows, squares = index._read(records["label"], records["vector"])
    if head.count:
        table, graph = index._table, index._graph
        slots = table.put(ids, index._metric.prepare(rows, squares))
        graph.reserve(len(table.ids))
        graph.enrol(slots, levels)
        graph.ground.links[slots] = _checked(records["degree"].astype(np.int64), records["links"], levels, 0)
        for level, (members, degrees, lists) in enumerate(towers, 1):
            graph.towers.links[graph.layers[level].rows(slots[members])] = _checked(degrees, lists, levels, level)
        graph.grow_tree()
        fault = graph.fault(table.ids >= 0)
        if fault:
            raise CorruptSegmentError(f"the file does not hold a graph: {fault}")
        index.delete(ids[records["mark"] & 1 != 0])
    return index


def to_npy(index: VectorIndex, folder: str | Path) -> None:
    """Writes ids (n,) int64 and vectors (n, dim) float32, as `index.vectors` gives them, into `ids.npy` and `vectors.npy` of a folder."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    ids = index.ids
    np.save(folder / "ids.npy", ids)
    rows = np.lib.format.open_memmap(folder / "vectors.npy", "w+", np.float32, (len(ids), index.dim))
    for start in range(0, len(ids), _SLICE):
        rows[start : start + _SLICE] = index.vectors(ids[start : start + _SLICE])
    rows.flush()


def add_npy(index: VectorIndex, folder: str | Path, *, progress: Callable[[int, int], object] | None = None) -> None:
    """Adds what `to_npy`, or anybody, wrote there: all of it or, on any error, none. As `VectorIndex.add`."""
    ids, rows = (np.load(Path(folder) / name, mmap_mode="r") for name in ("ids.npy", "vectors.npy"))
    index.add(np.array(ids), rows, progress=progress)


def _read_header(content: bytes) -> _Header:
    if len(content) < _HEADER.size:
        raise CorruptSegmentError(f"the file has {len(content)} bytes; hnswlib's header alone has {_HEADER.size}")
    head = _Header(*_HEADER.unpack_from(content))
    dim, rest = divmod(head.label_offset - head.offset_data, 4)
    shape = (head.offset_level0, head.offset_data, head.size)
    if dim < 1 or rest or not 2 <= head.M <= 1024 or head.m != head.M or head.m0 != 2 * head.M:
        raise CorruptSegmentError(f"this is no header of hnswlib's: M {head.M}, lists of {head.m} and {head.m0}, {dim} dimensions")
    if shape != (0, 4 + 4 * head.m0, head.label_offset + 8):
        raise CorruptSegmentError(f"this is no header of hnswlib's: elements at {shape[0]}, vectors at {shape[1]}, {shape[2]} bytes each")
    if len(content) < _HEADER.size + head.count * (head.size + 4):
        raise CorruptSegmentError(f"the file has {len(content)} bytes, too few for {head.count} elements of {head.size}")
    return head


def _read_towers(content: bytes, head: _Header):
    """Levels (count,) int8, and per upper layer its members (n,), degrees (n,) and lists (n, maxM)."""
    at, step = _HEADER.size + head.count * head.size, 4 + 4 * head.m
    levels, found = np.zeros(head.count, np.int8), {}
    for element in range(head.count):
        size = struct.unpack_from("<I", content, at)[0] if at + 4 <= len(content) else -1
        at += 4
        if size % step or not 0 <= size // step <= min(127, max(0, head.top_level)) or at + size > len(content):
            raise CorruptSegmentError(f"the lists of element {element} have {size} bytes, it says; a layer has {step}, of {head.top_level}")
        levels[element] = size // step
        for level in range(1, size // step + 1):
            lists = np.frombuffer(content, "<u4", 1 + head.m, at + (level - 1) * step)
            found.setdefault(level, []).append((element, lists))
        at += size
    if at != len(content):
        raise CorruptSegmentError(f"the file has {len(content)} bytes; its elements end at {at}")
    towers = []
    for level in range(1, int(levels.max(initial=0)) + 1):
        members, lists = np.array([element for element, _ in found[level]]), np.stack([each for _, each in found[level]])
        towers.append((members, lists[:, 0].astype(np.int64), lists[:, 1:]))
    return levels, towers


def _checked(degrees: np.ndarray, lists: np.ndarray, levels: np.ndarray, level: int) -> np.ndarray:
    """Lists (n, width) padded with -1, of links that can be."""
    held = np.arange(lists.shape[1]) < degrees[:, None]
    if (degrees > lists.shape[1]).any() or (lists[held] >= len(levels)).any() or (levels[lists[held]] < level).any():
        raise CorruptSegmentError(f"layer {level} has links to elements that are not on it")
    return np.where(held, lists.astype(np.int64), -1)
