"""A real model file that says what it is told to: its layers add nothing, and each token has one that follows it.

Embeddings are one-hot, the layers' matrices zero, and the output matrix leads from a token to the next of the script; the script begins
after a line feed, with which a ChatML prompt ends.
"""

from collections.abc import Sequence

import numpy as np

from pyruvllm.models.gguf import GgufWriter
from pyruvllm.models.tokenizer.bytebpe import ALPHABET

CHATML = (
    "{{- bos_token -}}{%- for message in messages %}{{- '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{%- endfor %}{%- if add_generation_prompt %}{{- '<|im_start|>assistant\n' }}{%- endif %}"
)
CONTROL = ("<|im_start|>", "<|im_end|>", "<|startoftext|>")
NORMED = ("attn_q_norm", "attn_k_norm")
SCRIPT = ("The lease", " ends on 31", " January 2029", " [", "1, 9].", " It was", " signed [2", "].", "  ")
SCRIPTED = {  # models that tests ask for by name
    "parrot": {"script": SCRIPT},
    "endless": {"script": ("again", " and "), "loop": True},
    "silent": {"script": ("  ", "\n\n")},
    "narrow": {"script": SCRIPT, "context": 128},
    "plain": {"script": SCRIPT, "template": None},
}


def scripted_model(
    script: Sequence[str],
    *,
    loop: bool = False,
    template: str | None = CHATML,
    context: int = 4096,
    name: str = "parrot",
    layers: int = 1,
    architecture: str = "llama",
) -> bytes:
    """script: what it says, token by token; loop: without end. ASCII only. architecture: "llama", or "lfm2", of attention alone."""
    tokens = [*ALPHABET, *CONTROL, *(piece.replace(" ", "Ġ").replace("\n", "Ċ") for piece in _distinct(script))]
    start, hidden = 256 + len(CONTROL), -(-len(tokens) // 16) * 16
    lfm2 = architecture == "lfm2"
    shape = {
        "block_count": layers, "context_length": context, "embedding_length": hidden, "feed_forward_length": 32, "attention.head_count": 4,
        "attention.head_count_kv": np.full(layers, 4, np.int32) if lfm2 else 4, "attention.layer_norm_rms_epsilon": 1e-5,
        "rope.freq_base": 10_000.0, **({"shortconv.l_cache": 3} if lfm2 else {}),
    }  # fmt: skip
    metadata = {
        "general.architecture": architecture, "general.name": name, **{f"{architecture}.{key}": value for key, value in shape.items()},
        "tokenizer.ggml.model": "gpt2", "tokenizer.ggml.pre": "gpt-2", "tokenizer.ggml.merges": [], "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.token_type": np.array([1] * 256 + [3] * len(CONTROL) + [1] * len(script), np.int32),
        "tokenizer.ggml.eos_token_id": 257, "tokenizer.ggml.bos_token_id": 258,
        **({"tokenizer.chat_template": template} if template else {}),
    }  # fmt: skip
    writer = GgufWriter(metadata)
    follows = np.zeros((len(tokens), hidden), np.float32)  # [next, now]
    follows[start, list(ALPHABET).index("Ċ")] = 10
    for place in range(len(script)):
        last = place == len(script) - 1
        follows[(start if loop else 257) if last else start + place + 1, start + place] = 10
    writer.add("token_embd.weight", np.eye(len(tokens), hidden, dtype=np.float32))
    writer.add("output.weight", follows)
    writer.add("token_embd_norm.weight" if lfm2 else "output_norm.weight", np.ones(hidden, np.float32))
    for layer in range(layers):
        for norm, size in {"attn_norm": hidden, "ffn_norm": hidden, **(dict.fromkeys(NORMED, hidden // 4) if lfm2 else {})}.items():
            writer.add(f"blk.{layer}.{norm}.weight", np.ones(size, np.float32))
        shapes = {f"attn_{part}": (hidden, hidden) for part in ("q", "k", "v", "output")}
        shapes |= {"ffn_gate": (32, hidden), "ffn_up": (32, hidden), "ffn_down": (hidden, 32)}
        for part, shape in shapes.items():
            writer.add(f"blk.{layer}.{part}.weight", np.zeros(shape, np.float32))
    return writer.bytes()


def _distinct(script: Sequence[str]) -> Sequence[str]:
    if len(set(script)) != len(script) or any(len(piece) < 2 for piece in script):
        raise ValueError("the pieces of a script are all different, and longer than one character")
    return script
