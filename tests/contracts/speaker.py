"""A small model at work, with the bytes as its vocabulary, for tests of what a language model says.

Their suites are bound by a fixture ``speakers`` that makes any number of it: Decoders, of GGUF files, or OnnxSpeakers, of the same weights.
"""

import numpy as np

from pyruvllm.models.decoder import Runner
from pyruvllm.models.gguf import read_head
from pyruvllm.models.language import LanguageModel
from pyruvllm.models.onnx_lm import OnnxLanguageModel, OnnxRunner
from pyruvllm.models.parts import Parts
from pyruvllm.models.shape import Shape
from pyruvllm.models.tokenizer import load
from pyruvllm.models.tokenizer.bytebpe import ALPHABET
from tests.generators.decoders import SMALL, model_file, with_template
from tests.generators.scripted import CHATML

FILE = model_file(vocabulary=257, seed=2)
CONTEXT = 512  # tokens of a dialogue
END = 256
TOKENIZER = load(
    {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "lfm2",
        "tokenizer.ggml.tokens": [*ALPHABET, "<|im_end|>"],
        "tokenizer.ggml.merges": [],
        "tokenizer.ggml.token_type": np.array([1] * 256 + [3], np.int32),
        "tokenizer.ggml.eos_token_id": END,
    }
)
PROMPT = TOKENIZER.encode("The engine of the Annika ran hot twice because")


def runner_of(kernels, architecture="lfm2", *, file=None, context=256):
    file = file or model_file(architecture, vocabulary=257, seed=2)
    head = read_head(file)
    shape = Shape.of(head.metadata)
    return Runner(shape, Parts(head, shape, lambda t: file[t.offset : t.offset + t.size], kernels), kernels, context)


class Decoders:
    architectures = ("lfm2", "llama")

    def __init__(self, kernels):
        self._kernels = kernels

    def __call__(self, architecture="lfm2", *, small=False, context=256):
        file = model_file("llama", **SMALL) if small else None
        return runner_of(self._kernels, architecture, file=file, context=context)

    def dialogue(self, template=CHATML, *, context=CONTEXT):
        return LanguageModel(with_template(template), self._kernels, context=context)


class OnnxSpeakers:
    """sessions: of the graphs "model", "small" and "template" (tests/generators/onnx_decoder.py)."""

    architectures = ("lfm2",)  # whose graphs the generator writes

    def __init__(self, sessions):
        self._sessions = sessions

    @classmethod
    async def open(cls, host):
        return cls({name: await host.onnx_session(f"tiny/onnx/{name}.onnx") for name in ("model", "small", "template")})

    def __call__(self, architecture="lfm2", *, small=False, context=256):
        return OnnxRunner(self._sessions["small" if small else "model"], context)

    def dialogue(self, template=CHATML, *, context=CONTEXT):
        session, metadata = self._sessions["template"], read_head(with_template(template)).metadata
        return OnnxLanguageModel(session, metadata, size=session.nbytes, context=context)


async def nothing():
    """Nobody else has a turn."""


async def read(speaker, ids):
    """Logits after the last of these tokens, (vocabulary,)."""
    return (await speaker.read(ids, nothing))[0].copy()
