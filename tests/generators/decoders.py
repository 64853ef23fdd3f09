"""Small decoders with random weights, as GGUF files; and the same models written a second time, in plain numpy of float64.

The twin follows the papers and the models' published definitions, knows nothing of kernels, blocks or caches, and reads the whole
sequence anew for every token.
"""

from functools import cache

import numpy as np

from pyruvllm.models.gguf import KINDS, GgufWriter, dequantize, read_head
from pyruvllm.models.tokenizer.bytebpe import ALPHABET
from tests.generators.scripted import CHATML, CONTROL

LAYERS = {"lfm2": (0, 2, 0, 2), "llama": (2, 2), "qwen2": (1, 1), "qwen3": (4, 4)}  # heads of keys and values; 0: a convolution
SMALL = {"vocabulary": 257, "seed": 2, "hidden": 32, "feed_forward": 32}  # of a model that guesses for one with as many tokens


def model_file(
    architecture: str = "lfm2", kind: str = "f32", *, hidden=64, feed_forward=96, heads=4, head_dim=None, vocabulary=160, seed=1
) -> bytes:
    """A file. Weights are large enough for the layers to matter."""
    random, kv_heads = np.random.default_rng(seed), LAYERS[architecture]
    head_dim = head_dim or hidden // heads
    key = architecture + "."
    metadata = {
        "general.architecture": architecture,
        key + "block_count": len(kv_heads),
        key + "context_length": 512,
        key + "embedding_length": hidden,
        key + "feed_forward_length": feed_forward,
        key + "attention.head_count": heads,
        key + "attention.head_count_kv": np.array(kv_heads, np.int32) if architecture == "lfm2" else kv_heads[0],
        key + "attention.layer_norm_rms_epsilon": 1e-5,
        key + "rope.freq_base": 10_000.0,
    }
    if head_dim != hidden // heads:
        metadata[key + "attention.key_length"] = head_dim
    if architecture == "lfm2":
        metadata[key + "shortconv.l_cache"] = 3
    writer = GgufWriter(metadata)

    def matrix(name, rows, cols):
        writer.add(f"{name}.weight", random.standard_normal((rows, cols), dtype=np.float32) * np.float32(1.5 / np.sqrt(cols)), kind)

    def vector(name, size):
        writer.add(f"{name}.weight", 1 + 0.2 * random.standard_normal(size, dtype=np.float32))

    matrix("token_embd", vocabulary, hidden)
    vector("token_embd_norm" if architecture == "lfm2" else "output_norm", hidden)
    if architecture == "llama":
        matrix("output", vocabulary, hidden)
    for layer, kv in enumerate(kv_heads):
        at = f"blk.{layer}."
        vector(at + "attn_norm", hidden)
        vector(at + "ffn_norm", hidden)
        if kv:
            matrix(at + "attn_q", heads * head_dim, hidden)
            matrix(at + "attn_k", kv * head_dim, hidden)
            matrix(at + "attn_v", kv * head_dim, hidden)
            matrix(at + "attn_output", hidden, heads * head_dim)
            if architecture in ("lfm2", "qwen3"):
                vector(at + "attn_q_norm", head_dim)
                vector(at + "attn_k_norm", head_dim)
            if architecture == "qwen2":
                for name, size in (("attn_q", heads * head_dim), ("attn_k", kv * head_dim), ("attn_v", kv * head_dim)):
                    writer.add(f"{at}{name}.bias", random.standard_normal(size, dtype=np.float32))
        else:
            writer.add(at + "shortconv.conv.weight", random.standard_normal((hidden, 3), dtype=np.float32))
            matrix(at + "shortconv.in_proj", 3 * hidden, hidden)
            matrix(at + "shortconv.out_proj", hidden, hidden)
        matrix(at + "ffn_gate", feed_forward, hidden)
        matrix(at + "ffn_up", feed_forward, hidden)
        matrix(at + "ffn_down", hidden, feed_forward)
    return writer.bytes()


@cache
def with_template(template=CHATML):
    """A whole file: tokens that begin and end what a role says, and a chat template, or None."""
    file = model_file(vocabulary=256 + len(CONTROL), seed=2)
    own = {"model": "gpt2", "pre": "lfm2", "merges": [], "tokens": [*ALPHABET, *CONTROL], "eos_token_id": 257, "bos_token_id": 258}
    own |= {"add_bos_token": False, "token_type": np.array([1] * 256 + [3] * len(CONTROL), np.int32)}
    own = {f"tokenizer.ggml.{key}": value for key, value in own.items()}
    own |= {"general.name": "tiny"} | ({"tokenizer.chat_template": template} if template else {})
    head = read_head(file)
    writer = GgufWriter({**head.metadata, **own})
    for tensor in head.tensors.values():
        writer.add_raw(tensor.name, file[tensor.offset : tensor.offset + tensor.size], tensor.kind.name, tensor.shape)
    return writer.bytes()


def rounded(file: bytes, kind: str) -> bytes:
    """The same model with its matrices in another kind. Those whose rows are no whole blocks of it become Q8_0."""
    head = read_head(file)
    writer = GgufWriter(head.metadata)
    for tensor in head.tensors.values():
        matrix = len(tensor.shape) == 2 and "shortconv.conv" not in tensor.name
        chosen = kind if not tensor.shape[-1] % KINDS[kind].values else "q8_0"
        values = dequantize(tensor, file[tensor.offset : tensor.offset + tensor.size])
        writer.add(tensor.name, values, chosen if matrix else "f32")
    return writer.bytes()


def first_layers(file: bytes, count: int) -> bytes:
    """An LFM2 of only so many layers of another."""
    head = read_head(file)
    kv_heads = np.array(head.metadata["lfm2.attention.head_count_kv"], np.int32)[:count]
    writer = GgufWriter({**head.metadata, "lfm2.block_count": count, "lfm2.attention.head_count_kv": kv_heads})
    for tensor in head.tensors.values():
        if not tensor.name.startswith("blk.") or int(tensor.name.split(".")[1]) < count:
            writer.add_raw(tensor.name, file[tensor.offset : tensor.offset + tensor.size], tensor.kind.name, tensor.shape)
    return writer.bytes()


class Twin:
    def __init__(self, file: bytes) -> None:
        head = read_head(file)
        self.meta, self.architecture = head.metadata, head.metadata["general.architecture"]
        self.w = {t.name: dequantize(t, file[t.offset : t.offset + t.size]).astype(np.float64) for t in head.tensors.values()}

    def logits(self, ids) -> np.ndarray:
        """(tokens, vocabulary) float64."""
        w, layers = self.w, self.meta[f"{self.architecture}.block_count"]
        x = w["token_embd.weight"][list(ids)]
        for layer in range(layers):
            part = {name.removeprefix(f"blk.{layer}."): value for name, value in w.items() if name.startswith(f"blk.{layer}.")}
            h = self._norm(x, part["attn_norm.weight"])
            x = x + (self._convolution(h, part) if "shortconv.conv.weight" in part else self._attention(h, part))
            h = self._norm(x, part["ffn_norm.weight"])
            gate = h @ part["ffn_gate.weight"].T
            x = x + (gate / (1 + np.exp(-gate)) * (h @ part["ffn_up.weight"].T)) @ part["ffn_down.weight"].T
        x = self._norm(x, w["token_embd_norm.weight" if self.architecture == "lfm2" else "output_norm.weight"])
        return x @ w.get("output.weight", w["token_embd.weight"]).T

    def greedy(self, ids, count: int) -> list[int]:
        made = list(ids)
        for _ in range(count):
            made.append(int(self.logits(made)[-1].argmax()))
        return made[len(ids) :]

    def _norm(self, x, weight):
        return x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-5) * weight

    def _convolution(self, h, part):
        b, c, x = np.split(h @ part["shortconv.in_proj.weight"].T, 3, axis=1)
        columns, filters = np.concatenate((np.zeros((2, h.shape[1])), b * x)), part["shortconv.conv.weight"]
        mixed = sum(filters[:, j] * columns[j : j + len(h)] for j in range(3))
        return (c * mixed) @ part["shortconv.out_proj.weight"].T

    def _attention(self, h, part):
        heads = self.meta[f"{self.architecture}.attention.head_count"]
        q, k, v = (h @ part[f"attn_{name}.weight"].T + part.get(f"attn_{name}.bias", 0) for name in "qkv")
        q, dim = q.reshape(len(h), heads, -1), q.shape[1] // heads
        k, v = k.reshape(len(h), -1, dim), v.reshape(len(h), -1, dim)
        if "attn_q_norm.weight" in part:
            q, k = self._norm(q, part["attn_q_norm.weight"]), self._norm(k, part["attn_k_norm.weight"])
        q, k = self._rotated(q), self._rotated(k)
        k, v = (np.repeat(each, heads // each.shape[1], axis=1) for each in (k, v))
        scores = np.einsum("ihd,jhd->hij", q, k) / np.sqrt(dim)
        scores[:, *np.triu_indices(len(h), 1)] = -np.inf
        weights = np.exp(scores - scores.max(-1, keepdims=True))
        mixed = np.einsum("hij,jhd->ihd", weights / weights.sum(-1, keepdims=True), v)
        return mixed.reshape(len(h), -1) @ part["attn_output.weight"].T

    def _rotated(self, x):
        dim = x.shape[-1]
        pace = self.meta[f"{self.architecture}.rope.freq_base"] ** (-np.arange(0, dim, 2) / dim)
        pace = pace / self.w.get("rope_freqs.weight", 1) / self.meta.get(f"{self.architecture}.rope.scaling.factor", 1)
        angles = np.arange(len(x))[:, None] * pace
        turn = np.exp(1j * angles)[:, None]
        if self.architecture == "llama":
            pairs = (x[..., ::2] + 1j * x[..., 1::2]) * turn
            return np.stack((pairs.real, pairs.imag), -1).reshape(x.shape)
        pairs = (x[..., : dim // 2] + 1j * x[..., dim // 2 :]) * turn
        return np.concatenate((pairs.real, pairs.imag), -1)


LFM2 = {  # hidden, feed-forward, heads, attention layers, layers
    "350M": (1024, 4608, 16, (2, 5, 8, 10, 12, 14), 16),
    "700M": (1536, 6912, 24, (2, 5, 8, 10, 12, 14), 16),
    "1.2B": (2048, 8192, 32, (2, 5, 8, 10, 12, 14), 16),
}


FIRST_BYTE = 8  # of ``syllables``: the token of the byte 0


def syllables(count: int) -> dict:
    """Metadata of a byte-level vocabulary of so many tokens: control tokens, bytes, and words of two to four letters that merge."""
    control = ["<|pad|>", "<|startoftext|>", "<|endoftext|>", "<|x3|>", "<|x4|>", "<|x5|>", "<|im_start|>", "<|im_end|>"]
    letters = [chr(code) for code in range(ord("a"), ord("z") + 1)]
    pairs = [(one, other) for one in ("Ġ", *letters) for other in letters]
    joined = ["".join(pair) for pair in pairs]
    merges = [*pairs, *((one, other) for one in joined for other in joined if not other.startswith("Ġ"))]
    merges = merges[: count - len(control) - 256]
    tokens = [*control, *ALPHABET, *("".join(pair) for pair in merges)]
    own = {"model": "gpt2", "pre": "lfm2", "tokens": tokens, "merges": [" ".join(pair) for pair in merges]}
    own |= {"token_type": np.array([3] * len(control) + [1] * (len(tokens) - len(control)), np.int32)}
    own |= {"bos_token_id": 1, "eos_token_id": 7, "padding_token_id": 0, "add_bos_token": True}
    return {f"tokenizer.ggml.{name}": value for name, value in own.items()}


def lfm2_of_true_shape(size: str, kind: str, write, seed: int = 1) -> int:
    """An LFM2 of the published shape with random blocks for weights, handed to ``write`` piece by piece; returns its bytes.

    Its vocabulary is of the size and form of LFM2's, so that other runtimes open it too.
    """
    hidden, feed_forward, heads, attention, layers = LFM2[size]
    random, vocabulary = np.random.default_rng(seed), 65536
    kv_heads = [8 if layer in attention else 0 for layer in range(layers)]
    metadata = {"general.architecture": "lfm2", "lfm2.block_count": layers, "lfm2.context_length": 32768, "lfm2.embedding_length": hidden}
    metadata |= {"lfm2.feed_forward_length": feed_forward, "lfm2.attention.head_count": heads, "lfm2.rope.freq_base": 1e6}
    metadata |= {"lfm2.attention.head_count_kv": np.array(kv_heads, np.int32), "lfm2.shortconv.l_cache": 3}
    metadata |= {"lfm2.vocab_size": vocabulary, "lfm2.attention.layer_norm_rms_epsilon": 1e-5, **syllables(vocabulary)}
    writer = GgufWriter(metadata)

    def matrix(name, rows, cols, kind=kind):
        blocks = random.integers(0, 256, (rows * cols // KINDS[kind].values, KINDS[kind].bytes), dtype=np.uint8)
        scale = np.array([0.5 / np.sqrt(cols)], "<f2").view(np.uint8)
        if kind == "q6_k":
            blocks[:, 192:208], blocks[:, 208:] = 1, scale
        else:
            blocks[:, :2] = scale
        if kind == "q4_k":
            blocks[:, 2:4], blocks[:, 4:16] = scale, 0x11
        writer.add_raw(f"{name}.weight", blocks, kind, (rows, cols))

    matrix("token_embd", vocabulary, hidden, "q8_0" if kind == "q8_0" else "q6_k")
    writer.add("token_embd_norm.weight", np.ones(hidden, np.float32))
    for layer, kv in enumerate(kv_heads):
        at = f"blk.{layer}."
        for name in ("attn_norm", "ffn_norm"):
            writer.add(f"{at}{name}.weight", np.ones(hidden, np.float32))
        if kv:
            for name, rows in (("attn_q", hidden), ("attn_k", 512), ("attn_v", 512), ("attn_output", hidden)):
                matrix(at + name, rows, hidden)
            for name in ("attn_q_norm", "attn_k_norm"):
                writer.add(f"{at}{name}.weight", np.ones(64, np.float32))
        else:
            writer.add(f"{at}shortconv.conv.weight", random.standard_normal((hidden, 3), dtype=np.float32))
            matrix(at + "shortconv.in_proj", 3 * hidden, hidden)
            matrix(at + "shortconv.out_proj", hidden, hidden)
        matrix(at + "ffn_gate", feed_forward, hidden)
        matrix(at + "ffn_up", feed_forward, hidden)
        matrix(at + "ffn_down", hidden, feed_forward)
    return writer.write(write)
