"""A small LFM2 as an ONNX graph with the names of the public exports, from the weights of a GGUF file; and a Hub repository around it."""

import json
import sys
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from pyruvllm.models.gguf import dequantize, read_head
from pyruvllm.models.tokenizer.bytebpe import ALPHABET
from tests.generators.decoders import SMALL, model_file, with_template
from tests.generators.scripted import SCRIPTED, scripted_model

GRAPHS = {"model": {}, "bare": {"positions": False, "keep": False}, "half": {"half": True}}
ADDED = {"special": True, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
COLUMNS = 3  # that a convolution remembers, the newest among them
PATTERN = "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}"  # Llama 3's
PATTERN += "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"


class _Graph:
    def __init__(self, file: bytes, half: bool) -> None:
        head = read_head(file)
        self.meta = {name.removeprefix("lfm2."): value for name, value in head.metadata.items()}
        self.w = {t.name: dequantize(t, file[t.offset : t.offset + t.size]) for t in head.tensors.values()}
        self.nodes, self.constants, self.inputs, self.outputs = [], [], [], []
        self.state = TensorProto.FLOAT16 if half else TensorProto.FLOAT

    def node(self, kind: str, *inputs: str, outputs: int = 1, **attributes):
        names = [f"{kind}_{len(self.nodes)}_{place}" for place in range(outputs)]
        self.nodes.append(helper.make_node(kind, list(inputs), names, **attributes))
        return names[0] if outputs == 1 else names

    def constant(self, value, dtype=np.float32) -> str:
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value, dtype), name))
        return name

    def shaped(self, x: str, *sizes: int) -> str:
        return self.node("Reshape", x, self.constant(sizes, np.int64))

    def given(self, name: str, kind: int, shape: list) -> str:
        self.inputs.append(helper.make_tensor_value_info(name, kind, shape))
        return name

    def remembered(self, name: str, shape: list) -> str:
        self.given(name, self.state, shape)
        return self.node("Cast", name, to=TensorProto.FLOAT)

    def gives(self, name: str, x: str, kind: int, shape: list) -> None:
        self.nodes.append(helper.make_node("Cast", [x], [name], to=kind))
        self.outputs.append(helper.make_tensor_value_info(name, kind, shape))

    def linear(self, x: str, name: str) -> str:
        return self.node("MatMul", x, self.constant(self.w[f"{name}.weight"].T))

    def norm(self, x: str, name: str) -> str:
        mean = self.node("ReduceMean", self.node("Mul", x, x), self.constant([-1], np.int64), keepdims=1)
        eps = self.constant(self.meta["attention.layer_norm_rms_epsilon"])
        scaled = self.node("Div", x, self.node("Sqrt", self.node("Add", mean, eps)))
        return self.node("Mul", scaled, self.constant(self.w[f"{name}.weight"]))

    def convolution(self, h: str, layer: int) -> str:
        hidden, at = self.meta["embedding_length"], f"blk.{layer}.shortconv"
        past = self.remembered(f"past_conv.{layer}", [1, hidden, COLUMNS])
        b, c, x = self.node("Split", self.linear(h, f"{at}.in_proj"), outputs=3, axis=-1, num_outputs=3)
        columns = self.node("Concat", past, self.node("Transpose", self.node("Mul", b, x), perm=[0, 2, 1]), axis=2)
        ends = [self.constant([value], np.int64) for value in (1, 1 << 40, 2, -COLUMNS)]
        filters = self.constant(self.w[f"{at}.conv.weight"][:, None])
        mixed = self.node("Conv", self.node("Slice", columns, *ends[:3]), filters, group=hidden)
        newest = self.node("Slice", columns, ends[3], ends[1], ends[2])
        self.gives(f"present_conv.{layer}", newest, self.state, [1, hidden, COLUMNS])
        return self.linear(self.node("Mul", c, self.node("Transpose", mixed, perm=[0, 2, 1])), f"{at}.out_proj")

    def rotated(self, x: str, sine: str, cosine: str) -> str:
        first, second = self.node("Split", x, outputs=2, axis=-1, num_outputs=2)
        left = self.node("Sub", self.node("Mul", first, cosine), self.node("Mul", second, sine))
        right = self.node("Add", self.node("Mul", second, cosine), self.node("Mul", first, sine))
        return self.node("Concat", left, right, axis=-1)

    def attention(self, h: str, layer: int, kv: int, sine: str, cosine: str, mask: str) -> str:
        heads, dim = self.meta["attention.head_count"], self.meta["embedding_length"] // self.meta["attention.head_count"]
        at, parts = f"blk.{layer}", {}
        for name, count in (("q", heads), ("k", kv), ("v", kv)):
            x = self.shaped(self.linear(h, f"{at}.attn_{name}"), 1, -1, count, dim)
            x = x if name == "v" else self.norm(x, f"{at}.attn_{name}_norm")
            x = self.node("Transpose", x, perm=[0, 2, 1, 3])
            parts[name] = x if name == "v" else self.rotated(x, sine, cosine)
        for name, long in (("k", "key"), ("v", "value")):
            past = self.remembered(f"past_key_values.{layer}.{long}", [1, kv, "past", dim])
            parts[name] = self.node("Concat", past, parts[name], axis=2)
            self.gives(f"present.{layer}.{long}", parts[name], self.state, [1, kv, "all", dim])
            wide = self.constant([1, 1, heads // kv, 1, 1], np.int64)
            grouped = self.node("Expand", self.node("Unsqueeze", parts[name], self.constant([2], np.int64)), wide)
            parts[name] = self.shaped(grouped, 1, heads, -1, dim)
        scores = self.node("MatMul", parts["q"], self.node("Transpose", parts["k"], perm=[0, 1, 3, 2]))
        scores = self.node("Add", self.node("Mul", scores, self.constant(dim**-0.5)), mask)
        mixed = self.node("MatMul", self.node("Softmax", scores, axis=-1), parts["v"])
        return self.linear(self.shaped(self.node("Transpose", mixed, perm=[0, 2, 1, 3]), 1, -1, heads * dim), f"{at}.attn_output")


def onnx_of(file: bytes, *, positions: bool = True, keep: bool = True, half: bool = False) -> bytes:
    """positions, keep: with the inputs position_ids and num_logits_to_keep; half: what is remembered is float16."""
    g = _Graph(file, half)
    ids, attention = g.given("input_ids", TensorProto.INT64, [1, "tokens"]), g.given("attention_mask", TensorProto.INT64, [1, "all"])
    zero, one = g.constant(0, np.int64), g.constant(1, np.int64)
    size = g.node("Gather", g.node("Shape", ids), one)
    total = g.node("Gather", g.node("Shape", attention), one)
    own = g.node("Range", g.node("Sub", total, size), total, one)
    at = g.shaped(g.given("position_ids", TensorProto.INT64, [1, "tokens"]), -1) if positions else own
    heads, hidden = g.meta["attention.head_count"], g.meta["embedding_length"]
    half_dim = hidden // heads // 2
    rates = g.constant([g.meta["rope.freq_base"] ** (-np.arange(half_dim) / half_dim)])
    angles = g.node("Mul", g.shaped(g.node("Cast", at, to=TensorProto.FLOAT), -1, 1), rates)
    sine, cosine = g.node("Sin", angles), g.node("Cos", angles)
    later = g.node("Greater", g.shaped(g.node("Range", zero, total, one), 1, -1), g.shaped(own, -1, 1))
    mask = g.node("Where", later, g.constant(-1e9), g.constant(0.0))
    x = g.node("Gather", g.constant(g.w["token_embd.weight"]), ids)
    for layer, kv in enumerate(g.meta["attention.head_count_kv"].tolist()):
        h = g.norm(x, f"blk.{layer}.attn_norm")
        x = g.node("Add", x, g.attention(h, layer, kv, sine, cosine, mask) if kv else g.convolution(h, layer))
        h = g.norm(x, f"blk.{layer}.ffn_norm")
        gate = g.linear(h, f"blk.{layer}.ffn_gate")
        gated = g.node("Mul", g.node("Mul", gate, g.node("Sigmoid", gate)), g.linear(h, f"blk.{layer}.ffn_up"))
        x = g.node("Add", x, g.linear(gated, f"blk.{layer}.ffn_down"))
    if keep:
        first = g.shaped(g.node("Sub", size, g.given("num_logits_to_keep", TensorProto.INT64, [])), 1)
        x = g.node("Slice", x, first, g.constant([1 << 40], np.int64), g.constant([1], np.int64))
    vocabulary = len(g.w["token_embd.weight"])
    head = g.w.get("output.weight", g.w["token_embd.weight"])
    logits = g.node("MatMul", g.norm(x, "token_embd_norm"), g.constant(head.T))
    g.gives("logits", logits, TensorProto.FLOAT, [1, "kept", vocabulary])
    graph = helper.make_graph(g.nodes, "lfm2", g.inputs, g.outputs, g.constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model)
    return model.SerializeToString()


def repository(tokens: int = 257, context: int = 1024) -> dict[str, bytes]:
    """What a Hub repository has beside the graph: the bytes as a vocabulary, and the token that ends a turn."""
    vocabulary = {character: id for id, character in enumerate(ALPHABET)}
    split = {"type": "Split", "pattern": {"Regex": PATTERN}, "behavior": "Isolated", "invert": False}
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
    tokenizer = {
        "model": {"type": "BPE", "vocab": vocabulary, "merges": []},
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [split, level]},
        "added_tokens": [{"id": id, "content": "<|im_end|>" if id == 256 else f"<|{id}|>", **ADDED} for id in range(256, tokens)],
    }
    config = {"model_type": "lfm2", "max_position_embeddings": context, "eos_token_id": 256}
    template = "{% for message in messages %}{{ message.role }}: {{ message.content }}\n{% endfor %}assistant:"
    about = {"add_bos_token": False, "chat_template": template}
    files = {"tokenizer.json": tokenizer, "config.json": config, "tokenizer_config.json": about}
    return {name: json.dumps(value).encode() for name, value in files.items()}


def hub_files(metadata: dict) -> dict[str, bytes]:
    """The same of a GGUF file with the bytes as its vocabulary, and tokens that no text is cut into."""
    tokens, kinds = (metadata[f"tokenizer.ggml.{name}"] for name in ("tokens", "token_type"))
    files = {name: json.loads(content) for name, content in repository(context=metadata["lfm2.context_length"]).items()}
    files["tokenizer.json"]["model"]["vocab"] = {token: id for id, token in enumerate(tokens) if kinds[id] == 1}
    files["tokenizer.json"]["added_tokens"] = [{"id": id, "content": tokens[id], **ADDED} for id in range(len(tokens)) if kinds[id] == 3]
    files["config.json"] |= {f"{role}_token_id": metadata[f"tokenizer.ggml.{role}_token_id"] for role in ("bos", "eos")}
    files["tokenizer_config.json"] = {"chat_template": metadata.get("tokenizer.chat_template")}
    return {name: json.dumps(value).encode() for name, value in files.items()}


def write(folder: Path) -> None:
    """Repositories. "tiny" has graphs of one model, as the exports have it, with the fewest inputs, and with float16, and beside them those
    of one that guesses for it, and of one with the control tokens of a chat (tests/contracts/speaker.py); the others are scripted models.
    """
    graphs = {name: onnx_of(model_file(vocabulary=257, seed=2), **options) for name, options in GRAPHS.items()}
    graphs |= {"small": onnx_of(model_file(**SMALL)), "template": onnx_of(with_template())}
    _put(folder / "tiny", repository(), graphs)
    for name, options in SCRIPTED.items():
        file = scripted_model(**options, name=name, architecture="lfm2")
        _put(folder / name, hub_files(read_head(file).metadata), {"model": onnx_of(file)})


def _put(folder: Path, files: dict[str, bytes], graphs: dict[str, bytes]) -> None:
    for name, content in {**files, **{f"onnx/{name}.onnx": graph for name, graph in graphs.items()}}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


if __name__ == "__main__":
    write(Path(sys.argv[1]))
