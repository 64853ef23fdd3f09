import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyruvllm.errors import OperandError
from pyruvllm.kernels.reference import blocks

# Made once with the gguf package (0.19.0): whole numbers, so that nothing is lost in writing them down.
Q8_0_SIXTEENTHS = [
    57,
    16,
    24,
    102,
    10,
    36,
    43,
    -35,
    -57,
    -26,
    -28,
    48,
    53,
    -64,
    0,
    41,
    -48,
    38,
    -49,
    -4,
    41,
    -25,
    -20,
    -29,
    28,
    -32,
    63,
    -7,
]
Q8_0_SIXTEENTHS += [-3, 1, 11, 7]
Q8_0 = "6d2a47141e7f0c2d36d4b9e0dd3c42b00033c42fc3fb33e1e7dc23d84ef7fc010e09"
Q4_0_SIXTEENTHS = [
    1,
    64,
    40,
    76,
    26,
    16,
    -21,
    63,
    -4,
    -37,
    45,
    -44,
    46,
    15,
    -50,
    -59,
    -7,
    -60,
    -46,
    2,
    61,
    -4,
    40,
    54,
    42,
    17,
    -8,
    2,
    -30,
    0,
]
Q4_0_SIXTEENTHS += [-16, -33]
Q4_0 = "c0b898e1d48025864a21486c938db386adbe"
Q4_K = (
    "003400b8f8b1e133b85e7d009ed4a9278844f7e12f82f0d8b5a30abd79173e8aba819cdfaf5ca4991b0fa9639952392661d0666193fa6497709a72a38cadf4268f705b3d"
    "0d67d31867f7f33701ab034c7fdf17a98821d8d87bf19be7f59147259031c0ed3e8d0c2e60e2f8a495910f60fb69363db609f8e09177c28c7a5272c00e06b85fcd07e81f"
    "6af71ba8ba6d1486"
)
Q4_K_QUARTERS = [
    560, 336, 504, 168, 952, 224, 112, 560, 392, 280, 672, 840, 616, 504, 896, 672, 672, 168, 784, 952, 952, 784, 336, 616, 728, 952,
    616, 280, 616, 224, 616, 448, 452, 256, 795, 746, 158, 452, 795, 697, 599, 550, 60, 599, 403, 109, 207, 452, 599, 452, 501, 697,
    550, 305, 550, 501, 109, 60, 550, 354, 501, 305, 207, 158, 155, 122, 320, 155, 221, 452, 254, 353, 122, 452, 188, 221, 518, 551,
    254, 320, 617, 122, 485, 551, 551, 353, 221, 386, 353, 353, 221, 353, 155, 485, 221, 518, 306, 663, 306, 306, 459, 765, 306, 459,
    357, 459, 357, 510, 408, 510, 765, 102, 408, 357, 255, 153, 0, 306, 663, 51, 306, 765, 765, 153, 0, 510, 0, 204, 1012, 1012, 516,
    640, 578, 144, 578, 578, 764, 144, 764, 516, 392, 144, 516, 392, 82, 144, 82, 888, 950, 888, 826, 950, 82, 206, 578, 330, 392, 144,
    1012, 82, 310, 526, 94, 418, 346, 130, 526, 526, 310, 598, 382, 562, 598, 382, 202, 130, 382, 166, 490, 562, 166, 346, 58, 130, 274,
    562, 598, 418, 382, 382, 58, 274, 679, 565, 394, 793, 394, 565, 508, 52, 109, 451, 166, 736, 622, 166, 166, 52, 850, 394, 508, 907,
    793, 451, 508, 907, 622, 451, 679, 508, 622, 793, 280, 394, 109, 46, 25, 25, 81, 4, 109, 102, 67, 53, 88, 60, 53, 39, 53, 88, 4, 4,
    81, 39, 88, 4, 102, 11, 46, 109, 11, 74, 81, 46, 11, 60,
]  # fmt: skip
Q6_K = (
    "6edfae580e9747afdd5ae78487c3cae8ff2669ee4e0193c0becfa423d86bd8d0f803dda07ccbf38316b93b393132e85c1b2d65584ff2dd92fc57234516f3387133fa2883"
    "f385e6e5c4be9394d46df2e05f69b6ec18113f6e29848af3be40c9ceaead4fb722a1ebf84c559e65bb332b0c78364cead0d7971cbf9ae87a2c9874a8604e20f6c1773ca0"
    "69a2172fbc0fad6900c3b3d0e5bad71cebe9b1cdbde0e385d0ea4c0b2b076f054240b43ff330f8913e094e971b2a1dad1605744f91f0db89a4cf6fa8379c3c30c293600a"
    "3ccd77f50034"
)
Q6_K_QUARTERS = [
    1656, -1380, 1656, -736, 184, -2116, 2300, 1564, 276, -920, -2116, -1840, 2300, -1748, 552, 736, 833, -1078, -1225, 882, 98, -49,
    -931, 1568, -1470, 49, 588, 637, 392, 1029, -1176, 784, -2664, 2109, -2109, -1776, -2220, -555, 2109, -3219, 666, -2553, -555, 2775,
    1887, 1998, 2664, 1332, 1848, 1672, 2376, 2112, 88, -176, 264, -1584, -1056, -616, 2552, -1848, -1936, 2552, 2112, 1320, 330, -1045,
    550, 1155, -1760, 1375, 1100, 550, 715, 275, -110, 440, 1320, -1100, 660, 770, 1700, 3000, -2200, 200, -400, -1600, 700, 400, -1100,
    -1200, -2600, 3000, -2900, -600, -1300, 1900, -60, -960, -1140, 1560, 1380, -240, -1020, 480, -900, 660, -1740, -1740, 180, -1740,
    840, -660, -1488, 864, 288, 1008, 960, 720, 1392, -1104, 1488, 1008, 96, 960, 48, 1488, 912, 336, 1798, -620, 1488, -1178, -1178,
    -1302, -1364, 682, -248, 1116, 1798, -1240, -1240, 1178, 1860, 992, -1635, 763, -654, -3052, -2616, -109, 109, 218, -981, 1308,
    2398, -2071, 218, 3488, -2725, 218, -1728, 1248, 2976, 672, 192, -1440, 2592, -768, -1920, -2592, -192, 2016, -2016, -2784, 1056,
    -1920, 240, 60, 280, -60, 0, 70, 230, 280, -10, -60, -80, 260, -200, -240, 40, 80, -780, 900, -1800, -1440, 900, -1440, 840, -1080,
    -1200, -1260, 1500, 1500, 1740, 1320, 1860, -120, -1071, 1326, 1071, 102, 765, -51, 663, -306, 714, 1224, -1224, 867, 255, -1020,
    204, 1020, 3094, 3094, -1428, -2499, -3570, -2618, -238, -2023, -1428, -1309, 1071, -3094, 3213, -3451, 2142, 0, 275, 319, 132,
    -154, 209, 209, 253, -11, 231, 253, 22, 99, -22, -275, -253, -110,
]  # fmt: skip

KINDS = list(blocks.BLOCKS)


@pytest.mark.parametrize(("kind", "sixteenths", "golden"), [("q8_0", Q8_0_SIXTEENTHS, Q8_0), ("q4_0", Q4_0_SIXTEENTHS, Q4_0)])
def test_the_simple_formats_are_the_bytes_of_the_reference(kind, sixteenths, golden):
    values = np.array(sixteenths, np.float32) / 16
    assert blocks.quantize(kind, values[None]).tobytes().hex() == golden


def test_q8_0_bytes_mean_what_the_reference_says():
    expected = [3.564300537109375, 1.0040283203125, 1.50604248046875, 6.375579833984375, 0.6024169921875, 2.259063720703125]
    assert blocks.dequantize("q8_0", bytes.fromhex(Q8_0), (32,))[:6].tolist() == expected


def test_q4_0_bytes_mean_what_the_reference_says():
    assert blocks.dequantize("q4_0", bytes.fromhex(Q4_0), (32,))[:6].tolist() == [0, 4.15625, 2.375, 4.75, 1.78125, 1.1875]


@pytest.mark.parametrize(("kind", "golden", "quarters"), [("q4_k", Q4_K, Q4_K_QUARTERS), ("q6_k", Q6_K, Q6_K_QUARTERS)])
def test_bytes_of_the_k_formats_mean_what_the_reference_says(kind, golden, quarters):
    assert (blocks.dequantize(kind, bytes.fromhex(golden), (256,)) * 4).tolist() == quarters


@pytest.mark.parametrize("kind", KINDS)
def test_packing_undoes_unpacking(kind):
    raw = np.random.default_rng(0).integers(0, 256, (50, blocks.BLOCKS[kind][1]), np.uint8)
    one = np.ones(50, np.float16)
    scales = {"q6_k": slice(208, 210), "q4_k": slice(0, 4)}.get(kind, slice(0, 2))
    raw[:, scales] = np.frombuffer(np.ones((scales.stop - scales.start) // 2, "<f2").tobytes(), np.uint8)
    packed = {
        "q8_0": lambda: blocks.pack_q8_0(one, blocks.unpack_q8_0(raw)[1]),
        "q4_0": lambda: blocks.pack_q4_0(one, blocks.unpack_q4_0(raw)[1]),
        "q4_k": lambda: blocks.pack_q4_k(one, one, *blocks.unpack_q4_k(raw)),
        "q6_k": lambda: blocks.pack_q6_k(one, *blocks.unpack_q6_k(raw)),
    }[kind]()
    assert np.array_equal(packed, raw)


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(KINDS), st.integers(0, 2**32 - 1), st.floats(-8, 9))
def test_every_value_lies_within_a_step_of_what_comes_back(kind, seed, size):
    rng = np.random.default_rng(seed)
    values = (rng.standard_normal((2, 512)) * 2.0**size).astype(np.float32)
    back = blocks.dequantize(kind, blocks.quantize(kind, values), values.shape)
    steps = {"q8_0": 127, "q4_0": 8, "q4_k": 7.5, "q6_k": 16}[kind]  # on each side of zero, at the least
    most = np.abs(values).reshape(-1, 32).max(axis=1)
    assert (np.abs(back - values).reshape(-1, 32).max(axis=1) <= 1.5 * most / steps).all()


@pytest.mark.parametrize(("kind", "most"), [("q8_0", 0.0055), ("q4_0", 0.087), ("q4_k", 0.0725), ("q6_k", 0.0172)])
def test_the_error_of_normal_values_is_what_the_format_allows(kind, most):
    values = np.random.default_rng(0).standard_normal((64, 1024)).astype(np.float32)
    error = blocks.dequantize(kind, blocks.quantize(kind, values), values.shape) - values
    assert np.sqrt(np.square(error).mean()) < most


@pytest.mark.parametrize("kind", ["q4_k", "q6_k"])
def test_columns_that_count_more_come_nearer(kind):
    values = np.random.default_rng(0).standard_normal((64, 512)).astype(np.float32)
    importance = np.where(np.arange(512) % 8 == 0, 50, 1).astype(np.float32)

    def lost(made):
        return (np.square(blocks.dequantize(kind, made, values.shape) - values) * importance).sum()

    assert lost(blocks.quantize(kind, values, importance)) < 0.9 * lost(blocks.quantize(kind, values))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("value", [0.0, -0.0, 1.0, -1.5, 1e-38, 65504.0, -65504.0])
def test_rows_of_one_value_come_back_without_a_warning(kind, value):
    values = np.full((1, 256), value, np.float32)
    back = blocks.dequantize(kind, blocks.quantize(kind, values), values.shape)
    assert np.allclose(back, values, rtol=2e-2, atol=1e-6)


@pytest.mark.parametrize("value", [np.nan, np.inf, -65520.0])
@pytest.mark.parametrize("kind", KINDS)
def test_what_float16_does_not_reach_is_refused(kind, value):
    values = np.zeros((1, 256), np.float32)
    values[0, 77] = value
    with pytest.raises(OperandError, match=f"quantize_{kind}: x"):
        blocks.quantize(kind, values)


def test_sizes_that_do_not_fit_are_refused():
    with pytest.raises(OperandError, match="a row of 288"):
        blocks.quantize("q4_k", np.zeros((1, 288), np.float32))
    with pytest.raises(OperandError, match="18 bytes"):
        blocks.dequantize("q4_0", bytes(17), (32,))
    with pytest.raises(OperandError, match="q5_1"):
        blocks.row_bytes("q5_1", 32)
    with pytest.raises(OperandError, match="importance is 256"):
        blocks.quantize("q4_k", np.zeros((1, 256), np.float32), np.full(256, -1.0))
