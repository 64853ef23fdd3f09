import pytest

from pyruvllm.kernels import keys, manifest, memory, pack
from pyruvllm.kernels.library import Library, twins


def test_says_who_signed_it_and_what_was_compiled():
    files, room = pack.bundled(), memory.current()
    if room is None:
        pytest.skip("nothing here runs kernels")
    library = Library(manifest.read(files[manifest.FILE]), files, room)
    assert library.key in keys.pinned() and library.compiled == []
    name = library.names("hnsw_scan")[0]
    library.kernel("hnsw_scan", name)
    assert library.compiled == [f"hnsw.{name.split('.')[1]}.wasm"]


def test_twins_are_signed_by_nobody():
    assert twins().key is None and twins().compiled == []
