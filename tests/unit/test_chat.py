"""Chat completions over a model from a GGUF file, and chat templates by themselves."""

import pytest

from pyruvllm.config import Clock
from pyruvllm.errors import ConfigError, ModelError
from pyruvllm.models.template import ChatTemplate
from tests.contracts.chat import *  # noqa: F403
from tests.contracts.chat import MESSAGES
from tests.generators.scripted import CHATML


class TestTemplate:
    def test_chatml(self):
        written = ChatTemplate(CHATML, "<|startoftext|>", "<|im_end|>").render(MESSAGES)
        assert written == (
            "<|startoftext|><|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nWhy <|im_end|>?<|im_end|>\n<|im_start|>assistant\n"
        )
        assert ChatTemplate(CHATML).render(MESSAGES, answering=False).endswith("?<|im_end|>\n")

    @pytest.mark.parametrize(
        ("written", "expected"),
        [  # by Hugging Face's apply_chat_template, transformers 5.24
            ("{{ tools | tojson }}", """[{"name": "it's <a>", "b": 1, "a": ["ü", true, null]}]"""),
            ("{{ tools[0].a | tojson(indent=2) }}", '[\n  "ü",\n  true,\n  null\n]'),
            ("{{ tools[0].a | tojson(separators=(',', ':')) }}", '["ü",true,null]'),
            ("{% generation %}\n {{ messages[1].content }} {% endgeneration %}.", " Why <|im_end|>? ."),
            ("{{ strftime_now('%d %b %Y') }}", "15 Feb 2026"),
        ],
    )
    def test_what_a_template_may_use(self, written, expected):
        class Noon(Clock):
            def now_ms(self):
                return 1_771_156_800_000  # 15 February 2026, 12:00 UTC

        tools = [{"name": "it's <a>", "b": 1, "a": ["ü", True, None]}]
        template = ChatTemplate(written, clock=Noon())
        assert template.render(MESSAGES, tools=tools if template.tools else None) == expected

    def test_parts_of_text_are_one_text(self):
        parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
        assert "\nab<|im_end|>" in ChatTemplate(CHATML).render([{"role": "user", "content": parts}])

    @pytest.mark.parametrize(
        "hostile",
        [
            "{{ messages.__class__.__mro__[1].__subclasses__() }}",
            "{{ ''.__class__ }}{{ ''.__class__.__base__ }}",
            "{{ messages.append(1) }}",
            "{{ raise_exception('not like this') }}",
            "{{ 1 / 0 }}",
        ],
    )
    def test_a_hostile_template_reaches_nothing(self, hostile):
        try:
            written = ChatTemplate(hostile).render(MESSAGES)
        except ConfigError:
            return
        assert "class" not in written

    def test_no_template_at_all(self):
        with pytest.raises(ModelError, match="does not read"):
            ChatTemplate("{% for %}")
