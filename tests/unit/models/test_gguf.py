"""GGUF files against the reference package ``gguf``, and against everything that a file should not say."""

import struct
from pathlib import Path

import gguf
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyruvllm.errors import GgufError
from pyruvllm.models.gguf import KINDS, GgufWriter, Incomplete, ValueType, dequantize, read_head
from pyruvllm.models.gguf.kinds import NUMBERS

NUMBER = gguf.GGMLQuantizationType
METADATA = {
    "general.architecture": "lfm2",
    "general.name": "Größe 日本 🙂",
    "lfm2.block_count": 3,
    "lfm2.attention.head_count_kv": np.array([0, 2, 0], np.int32),
    "lfm2.rope.freq_base": 1e6,
    "tokenizer.ggml.add_bos_token": True,
    "tokenizer.ggml.tokens": ["<s>", "", "Ġa"],
    "tokenizer.ggml.scores": np.array([0.5, -1, 2], np.float32),
    "big": 2**40,
    "negative": -7,
}


def written(metadata=METADATA, tensors=(), **options):
    writer = GgufWriter(metadata, **options)
    for name, values, kind in tensors:
        writer.add(name, values, kind)
    return writer.bytes()


def plain(value):
    return value.tolist() if isinstance(value, np.ndarray) else list(value) if isinstance(value, list | tuple) else value


class TestAgainstTheReference:
    @pytest.mark.parametrize("alignment", [32, 8, 256])
    def test_what_it_writes_is_read_here(self, tmp_path, alignment):
        path, random = tmp_path / "model.gguf", np.random.default_rng(1)
        writer = gguf.GGUFWriter(path, "lfm2")
        writer.add_custom_alignment(alignment)
        writer.add_uint8("u8", 255)
        writer.add_int8("i8", -128)
        writer.add_uint16("u16", 65535)
        writer.add_int16("i16", -32768)
        writer.add_uint64("u64", 2**64 - 1)
        writer.add_int64("i64", -(2**63))
        writer.add_float64("f64", 1e300)
        writer.add_bool("bool", True)
        writer.add_array("strings", ["a", "", "ü"])
        writer.add_array("bools", [True, False])
        writer.add_array("floats", [0.5, 1.5])
        values = {"a.weight": random.standard_normal((6, 64), dtype=np.float32), "b": random.standard_normal(5, dtype=np.float32)}
        for name, array in values.items():
            writer.add_tensor(name, array)
        packed = gguf.quants.quantize(values["a.weight"], NUMBER.Q8_0)
        writer.add_tensor("c", packed, raw_dtype=NUMBER.Q8_0)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()

        data = path.read_bytes()
        head = read_head(data, len(data))
        found = {key: plain(value) for key, value in head.metadata.items()}
        expected = {"u8": 255, "i8": -128, "u16": 65535, "i16": -32768, "u64": 2**64 - 1, "i64": -(2**63), "f64": 1e300, "bool": True}
        assert expected.items() <= found.items() and head.alignment == alignment
        assert (found["strings"], found["bools"], found["floats"]) == (["a", "", "ü"], [True, False], [0.5, 1.5])
        assert head.types["u16"] is ValueType.UINT16 and head.types["strings"] is ValueType.STRING
        for name, array in values.items():
            tensor = head.tensors[name]
            assert tensor.shape == array.shape
            assert np.array_equal(dequantize(tensor, data[tensor.offset : tensor.offset + tensor.size]), array)
        tensor = head.tensors["c"]
        assert (tensor.kind.name, tensor.shape) == ("q8_0", (6, 64))
        assert data[tensor.offset : tensor.offset + tensor.size] == packed.tobytes()
        assert head.needed <= len(data)

    def test_version_2_is_read_as_the_reference_reads_it(self, tmp_path):
        """Its layout is that of version 3, which added files in the other byte order."""
        data = bytearray(written(METADATA, [("w", np.arange(64, dtype=np.float32).reshape(2, 32), "q8_0"), ("v", np.ones(5), "f32")]))
        third = read_head(bytes(data))
        data[4:8] = struct.pack("<I", 2)
        head, path = read_head(bytes(data), len(data)), tmp_path / "second.gguf"
        assert (third.version, head.version) == (3, 2)
        assert {key: plain(value) for key, value in head.metadata.items()} == {key: plain(value) for key, value in third.metadata.items()}
        assert (head.types, head.tensors, head.size, head.alignment) == (third.types, third.tensors, third.size, third.alignment)
        path.write_bytes(data)
        reader = gguf.GGUFReader(path)
        assert reader.get_field("GGUF.version").contents() == 2
        assert plain(reader.get_field("tokenizer.ggml.tokens").contents()) == head.metadata["tokenizer.ggml.tokens"]
        for theirs in reader.tensors:
            ours = head.tensors[theirs.name]
            assert (theirs.data_offset, theirs.n_bytes, theirs.shape.tolist()[::-1]) == (ours.offset, ours.size, list(ours.shape))
            assert data[ours.offset : ours.offset + ours.size] == theirs.data.tobytes()

    def test_a_file_in_the_other_byte_order_is_refused_as_one(self, tmp_path):
        path = tmp_path / "big.gguf"
        writer = gguf.GGUFWriter(path, "lfm2", endianess=gguf.GGUFEndian.BIG)
        writer.add_tensor("w", np.ones((2, 32), np.float32))
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        assert gguf.GGUFReader(path).endianess is gguf.GGUFEndian.BIG
        with pytest.raises(GgufError, match="version is .*; big-endian files are not read"):
            read_head(path.read_bytes())

    def test_it_reads_what_is_written_here(self, tmp_path):
        random, path = np.random.default_rng(2), tmp_path / "model.gguf"
        weights = random.standard_normal((4, 256), dtype=np.float32)
        kinds = ("f32", "f16", "q8_0", "q4_0", "q4_k", "q6_k")
        data = written(METADATA, [(f"{kind}.weight", weights, kind) for kind in kinds])
        path.write_bytes(data)
        reader = gguf.GGUFReader(path)
        for key, value in METADATA.items():
            assert plain(reader.get_field(key).contents()) == pytest.approx(plain(value)) if isinstance(value, float) else plain(value)
        for tensor in reader.tensors:
            kind = tensor.name.split(".")[0]
            assert tensor.tensor_type.name.lower() == kind and tensor.shape.tolist() == [256, 4]
            ours = read_head(data).tensors[tensor.name]
            theirs = gguf.quants.dequantize(tensor.data, tensor.tensor_type).reshape(4, 256)
            assert np.allclose(dequantize(ours, data[ours.offset : ours.offset + ours.size]), theirs, rtol=1e-6, atol=1e-6)

    @pytest.mark.parametrize("kind", KINDS)
    def test_every_kind_is_widened_to_the_same_numbers(self, kind):
        random, shape = np.random.default_rng(3), (5, 512)
        raw = random.integers(0, 256, (5, KINDS[kind].size(shape) // 5), dtype=np.uint8)
        number = NUMBER[kind.upper()]
        with np.errstate(all="ignore"):
            if kind in ("f32", "f16"):
                theirs = raw.view(NUMBERS[ValueType.FLOAT32] if kind == "f32" else "<f2").astype(np.float32)
            else:
                theirs = gguf.quants.dequantize(raw, number)
            writer = GgufWriter({})
            writer.add_raw("x", raw, kind, shape)
            data = writer.bytes()
            ours = dequantize(read_head(data).tensors["x"], raw)
        finite = np.isfinite(theirs)
        # a difference of two products is rounded in another order: beside what cancels in a block, the error counts
        largest = np.abs(np.where(finite, theirs, 0)).reshape(-1, KINDS[kind].values).max(axis=1).repeat(KINDS[kind].values).reshape(shape)
        assert finite.mean() > 0.5 and (np.abs(ours[finite] - theirs[finite]) <= 1e-6 * largest[finite]).all()

    def test_a_synthetic_model_of_true_form(self):
        tokens = [f"token {place}" for place in range(5000)]
        head = read_head(written({"general.architecture": "lfm2", "tokenizer.ggml.tokens": tokens}))
        assert head.metadata["tokenizer.ggml.tokens"] == tokens and head.version == 3


def test_it_is_read_as_its_bytes_come():
    data = written(METADATA, [("w", np.ones((2, 32), np.float32), "f32")])
    size, asked = 1, 0
    while True:
        try:
            head = read_head(data[:size], len(data))
            break
        except Incomplete as more:
            assert size < more.needed <= len(data)
            size, asked = more.needed, asked + 1
    assert head.tensors == read_head(data).tensors and head.metadata.keys() == METADATA.keys()
    assert size <= head.size and asked > 10


def raw(kv=b"", pairs=0, tensors=b"", count=0, magic=b"GGUF", version=3, tail=bytes(4096)):
    return magic + struct.pack("<IQQ", version, count, pairs) + kv + tensors + tail


def text(value):
    data = value if isinstance(value, bytes) else value.encode()
    return struct.pack("<Q", len(data)) + data


def directory(name="w", shape=(32,), kind=0, offset=0):
    return text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, kind, offset)


LIES = {
    "magic": (raw(magic=b"GGML"), "magic is b'GGML'"),
    "version 1": (raw(version=1), "version is 1"),
    "version 4": (raw(version=4), "version is 4; 2 and 3 are read"),
    "big-endian": (raw(version=3 << 24), "big-endian"),
    "big-endian version 2": (raw(version=2 << 24), "big-endian"),
    "tensors without end": (raw(count=2**63), "tensor_count is 9223372036854775808"),
    "more tensors than bytes": (raw(count=60000), "tensor_count is 60000"),
    "pairs without end": (raw(pairs=2**64 - 1), "metadata_kv_count"),
    "key too long": (raw(struct.pack("<Q", 2**40), 1), "length of key 0 is 1099511627776"),
    "key empty": (raw(text("") + struct.pack("<IB", 0, 1), 1), "empty"),
    "key twice": (raw((text("a") + struct.pack("<IB", 0, 1)) * 2, 2), "there twice"),
    "key no text": (raw(text(b"\xff") + struct.pack("<IB", 0, 1), 1), "no UTF-8"),
    "unknown type": (raw(text("a") + struct.pack("<I", 13), 1), "type of 'a' is 13"),
    "no truth value": (raw(text("a") + struct.pack("<IB", 7, 2), 1), "truth value of 2"),
    "string too long": (raw(text("a") + struct.pack("<IQ", 8, 2**50), 1), "ends at byte"),
    "array too long": (raw(text("a") + struct.pack("<IIQ", 9, 5, 2**61), 1), "length of 'a'"),
    "array too deep": (raw(text("a") + struct.pack("<I", 9) + struct.pack("<IQ", 9, 1) * 9, 1), "5 deep"),
    "alignment": (raw(text("general.alignment") + struct.pack("<II", 4, 24), 1), "general.alignment is 24"),
    "alignment no number": (raw(text("general.alignment") + struct.pack("<I", 8) + text("x"), 1), "general.alignment is 'x'"),
    "name too long": (raw(tensors=directory("n" * 65), count=1), "name of a tensor is 65"),
    "no axes": (raw(tensors=text("w") + struct.pack("<IIQ", 0, 0, 0), count=1), "n_dims of 'w' is 0"),
    "many axes": (raw(tensors=directory(shape=(1,) * 5), count=1), "n_dims of 'w' is 5"),
    "axis of nothing": (raw(tensors=directory(shape=(0,)), count=1), "shape of 'w'"),
    "size overflows": (raw(tensors=directory(shape=(2**40, 2**40)), count=1), "ends at byte"),
    "half a block": (raw(tensors=directory(shape=(33,), kind=2), count=1), "whole blocks of 32"),
    "unknown kind": (raw(tensors=directory(kind=77), count=1), "none that exists"),
    "kind not read": (raw(tensors=directory(kind=16), count=1), "iq2_xxs"),
    "offset": (raw(tensors=directory(offset=7), count=1), "offset of 'w' is 7"),
    "beyond the end": (raw(tensors=directory(offset=1 << 20), count=1), "truncated"),
    "twice": (raw(tensors=directory() * 2, count=2), "there twice"),
    "overlapping": (raw(tensors=directory("a") + directory("b", offset=32), count=2), "overlap"),
}


@pytest.mark.parametrize("lie", LIES)
def test_what_is_wrong_is_named(lie):
    data, says = LIES[lie]
    with pytest.raises(GgufError, match=says):
        read_head(data, len(data))


def test_a_truncated_file_is_said_to_be_one():
    data = written(METADATA, [("w", np.ones((64, 32), np.float32), "f32")])
    for size in (3, 20, 200, len(data) - 1):
        with pytest.raises(GgufError, match="ends at byte|truncated|can be there"):
            read_head(data[:size], size)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_a_damaged_file_gives_a_typed_error_or_another_head(data):
    good = bytearray(written(METADATA, [("w", np.ones((2, 32), np.float32), "q8_0"), ("v", np.ones(4, np.float32), "f32")]))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(good) - 1))
        good[at : at + data.draw(st.integers(0, 8))] = data.draw(st.binary(max_size=9))
    try:
        head = read_head(bytes(good), len(good))
    except (GgufError, Incomplete):
        return
    assert head.needed <= len(good)


@settings(max_examples=100, deadline=None)
@given(
    st.dictionaries(
        st.text(min_size=1, max_size=20),
        st.one_of(
            st.integers(-(2**63), 2**63 - 1),
            st.booleans(),
            st.text(),
            st.floats(width=32, allow_nan=False),
            st.lists(st.text()),
            st.lists(st.booleans(), min_size=1),
            st.lists(st.lists(st.text(), min_size=1), min_size=1),
        ),  # fmt: skip
    )
)
def test_metadata_comes_back_as_it_was(metadata):
    metadata.pop("general.alignment", None)
    found = read_head(written(metadata)).metadata
    assert {key: plain(value) for key, value in found.items()} == metadata


@pytest.mark.parametrize("value", [{"a": 1}, None, [1, "a"], 2**64, np.zeros((2, 2)), object()])
def test_what_cannot_be_written_is_refused(value):
    with pytest.raises(GgufError, match="'key'"):
        written({"key": value})


def test_tensors_that_do_not_fit_are_refused():
    writer = GgufWriter({})
    writer.add("a", np.ones(4), "f32")
    for wrong in (("a", np.ones(4), "f32"), ("b", np.ones(4), "q9"), ("c", np.ones(()), "f32"), ("d" * 65, np.ones(4), "f32")):
        with pytest.raises(GgufError):
            writer.add(*wrong)
    with pytest.raises(GgufError, match="128 bytes"):
        writer.add_raw("e", bytes(4), "f32", (32,))
    assert list(read_head(writer.bytes()).tensors) == ["a"]


def test_data_of_another_size_is_refused(tmp_path: Path):
    head = read_head(written({}, [("w", np.ones(32), "f32")]))
    with pytest.raises(GgufError, match="128 bytes as f32, not 4"):
        dequantize(head.tensors["w"], bytes(4))
