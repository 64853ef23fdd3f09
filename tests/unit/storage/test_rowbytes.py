import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyruvllm.errors import StorageError
from pyruvllm.storage.rowbytes import pack, unpack

TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
VALUES = st.one_of(st.none(), st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False), TEXTS, st.binary())


@given(st.integers(0, 5).flatmap(lambda columns: st.lists(st.tuples(*[VALUES] * columns), min_size=1, max_size=9)))
def test_rows_come_back_as_they_went(rows):
    read = unpack(memoryview(pack(rows)))
    if rows[0]:
        assert read == rows
        assert [[type(value) for value in row] for row in read] == [[type(value) for value in row] for row in rows]


def test_the_layout_is_the_one_that_the_bridge_reads():
    packed = pack([(5, "é"), (None, b"\1\2\3")])
    assert packed == (
        struct.pack("<II", 2, 2) + bytes([1, 3, 0, 4, 0, 0, 0, 0]) + struct.pack("<qIIqII", 5, 0, 2, 0, 2, 3) + "é".encode() + b"\1\2\3"
    )


@pytest.mark.parametrize("value", [2**63, -(2**63) - 1, "\udcff", [], {}, np.int64(3), object()])
def test_what_sql_cannot_hold_is_refused(value):
    with pytest.raises(StorageError):
        pack([(value,)])


def test_rows_of_different_lengths_are_refused():
    with pytest.raises(StorageError):
        pack([(1,), (1, 2)])


def test_a_text_that_is_no_utf8_is_refused():
    packed = pack([(b"\xff",)])
    with pytest.raises(StorageError):
        unpack(memoryview(packed[:8] + b"\x03" + packed[9:]))
