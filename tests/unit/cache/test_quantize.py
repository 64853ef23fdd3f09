import pytest

from pyruvllm.cache import Setting, decide
from pyruvllm.cache.layout import Form, Layout
from pyruvllm.errors import ConfigError
from pyruvllm.memory.policy import BUNDLED

LFM2_350M = Form(tuple(8 if layer in (2, 5, 8, 10, 12, 14) else 0 for layer in range(16)), 64)


@pytest.mark.parametrize(
    ("precision", "quality", "importance", "pressure", "old"),
    [
        ("q4_0", 0.5, 0.5, 0.0, "q8"),
        ("q4_0", 0.5, 0.5, 0.99, "q8"),  # eight bits unless there is a reason
        ("q4_0", 1.0, 0.9, 0.3, "f16"),
        ("q4_0", 1.0, 0.9, 0.6, "q8"),
        ("q4_0", 0.2, 0.5, 0.85, "q8q4"),
        ("q4_0", 0.2, 0.2, 0.95, "q4"),
        ("q4_k", 0.2, 0.2, 0.95, "q8q4"),  # no less than the policy allows
        ("q8", 0.0, 0.0, 1.0, "q8"),
        ("fp16", 0.0, 0.0, 1.0, "f16"),
    ],
)
def test_policy_importance_and_pressure_decide(precision, quality, importance, pressure, old):
    setting = decide({"precision": precision, "quality_weight": quality}, importance=importance, pressure=pressure)
    assert setting.old == old and not setting.rotate


def test_the_bundled_policy_gives_the_default():
    bundled = next(entry for entry in BUNDLED if entry.policy_type == "quantization")
    assert decide(bundled.parameters) == Setting(layers=(0, 16))


@pytest.mark.parametrize(
    ("chosen", "precision", "importance", "pressure", "old"),
    [
        ("q4", "q8", 1.0, 0.0, "q4"),  # a choice holds, whatever the policy's least is
        ("q8q4", "fp16", 1.0, 0.0, "q8q4"),
        ("f16", "q4_0", 0.5, 0.5, "f16"),
        ("f16", "q4_0", 0.0, 0.95, "q4"),  # but in a full pool, for what matters little, as far as the policy allows
        ("f16", "q8", 0.0, 0.95, "q8"),
        ("q8", "fp16", 0.0, 1.0, "q8"),
        ("q4", "q4_0", 0.2, 0.85, "q4"),
    ],
)
def test_what_was_chosen_holds_but_for_a_full_pool(chosen, precision, importance, pressure, old):
    choice = Setting(32, chosen, rotate=True)
    parameters = {"precision": precision, "quality_weight": 0.2, "layer_range": [0, 2], "tail_length": 64}
    assert decide(parameters, importance=importance, pressure=pressure, chosen=choice) == Setting(32, old, rotate=True)


def test_what_cannot_be_is_refused():
    for wrong in ({"old": "q5"}, {"tail": 10}, {"tail": -16}):
        with pytest.raises(ConfigError):
            Setting(**wrong)
    with pytest.raises(ConfigError, match="'q2'"):
        decide({"precision": "q2"})
    with pytest.raises(ConfigError, match="'q9'"):
        Layout.of(LFM2_350M, "q9")


def test_a_token_of_the_350m_shape_takes_the_bytes_that_are_named():
    sizes = {kind: Layout.of(LFM2_350M, kind).size / 16 for kind in ("f16", "q8", "q8q4", "q4")}
    assert sizes["f16"] == 12_288
    assert (sizes["q8"], sizes["q8q4"], sizes["q4"]) == (6_732, 5_196, 4_056)
