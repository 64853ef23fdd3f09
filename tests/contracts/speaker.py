"""A small model at work, with the bytes as its vocabulary, for tests of generation."""

import numpy as np

from pyruvllm.models.decoder import Runner
from pyruvllm.models.gguf import read_head
from pyruvllm.models.parts import Parts
from pyruvllm.models.shape import Shape
from pyruvllm.models.tokenizer import load
from pyruvllm.models.tokenizer.bytebpe import ALPHABET
from tests.generators.decoders import model_file

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
    head = read_head(file, len(file))
    shape = Shape.of(head.metadata)
    return Runner(shape, Parts(head, shape, lambda t: file[t.offset : t.offset + t.size], kernels), kernels, context)
