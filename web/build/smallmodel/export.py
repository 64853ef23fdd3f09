"""Writes a trained model as GGUF, with its tokenizer and chat template: what pyruvllm.models.builtin carries.

    python web/build/smallmodel/export.py RUN FOLDER [--kind q8_0]

RUN is what train.py wrote; FOLDER gets small.gguf and model.json. The template has the last question alone, as it was trained: no system
message, nothing said before.
"""

import argparse
import hashlib
import json
import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[3])]

import numpy as np  # noqa: E402
import torch  # noqa: E402
from network import EPS, Shape, is_matrix  # noqa: E402
from tokenizers import Tokenizer  # noqa: E402
from vocabulary import BOS, END, PAD, SPECIAL, merges  # noqa: E402

from pyruvllm.models.gguf import GgufWriter  # noqa: E402

NAME, FILE = "PyRuvLLM small", "small.gguf"
TEMPLATE = (
    "{{ bos_token }}{%- set asked = messages | selectattr('role', 'equalto', 'user') | list -%}"
    "<|im_start|>user\n{{ asked[-1]['content'] }}<|im_end|>\n{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def metadata(shape: Shape, tokenizer: Tokenizer) -> dict:
    key, tokens = "lfm2.", [tokenizer.id_to_token(id) for id in range(tokenizer.get_vocab_size())]
    kinds = np.array([3 if token in SPECIAL else 1 for token in tokens], np.int32)  # control, normal
    return {
        "general.architecture": "lfm2",
        "general.name": NAME,
        "general.license": "MIT",
        "general.description": "Answers a question from numbered notes: a few words of one of them and its number, or that none says.",
        "general.sampling.temp": 0.0,  # it copies: there is nothing to choose among
        key + "block_count": len(shape.kv_heads),
        key + "context_length": shape.context,
        key + "embedding_length": shape.hidden,
        key + "feed_forward_length": shape.feed_forward,
        key + "attention.head_count": shape.heads,
        key + "attention.head_count_kv": np.array(shape.kv_heads, np.int32),
        key + "attention.layer_norm_rms_epsilon": EPS,
        key + "rope.freq_base": shape.theta,
        key + "vocab_size": len(tokens),
        key + "shortconv.l_cache": 3,
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "lfm2",
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.token_type": kinds,
        "tokenizer.ggml.merges": merges(tokenizer),
        "tokenizer.ggml.bos_token_id": BOS,
        "tokenizer.ggml.eos_token_id": END,
        "tokenizer.ggml.padding_token_id": PAD,
        "tokenizer.ggml.add_bos_token": True,
        "tokenizer.chat_template": TEMPLATE,
    }


def exported(folder: Path, kind: str) -> bytes:
    """The file of the model in its folder; kind: of its matrices, "f32" to "q4_0"."""
    shape = Shape()
    weights = torch.load(folder / "checkpoint.pt")["w"]
    writer = GgufWriter(metadata(shape, Tokenizer.from_file(str(folder / "tokenizer.json"))))
    for name, value in weights.items():
        writer.add(f"{name}.weight", value.detach().numpy().astype(np.float32), kind if is_matrix(name) or name == "token_embd" else "f32")
    return writer.bytes()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--kind", default="q8_0")
    options = parser.parse_args()
    data = exported(options.folder, options.kind)
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / FILE).write_bytes(data)
    about = {"title": NAME, "file": FILE, "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest(), "licence": "MIT"}
    kept = torch.load(options.folder / "checkpoint.pt")
    about |= {"quantization": options.kind.upper(), "context": Shape.context, "parameters": sum(v.numel() for v in kept["w"].values())}
    about |= {"steps": kept["step"], "level": kept["level"]}
    (options.out / "model.json").write_text(json.dumps(about, indent=2) + "\n")


if __name__ == "__main__":
    main()
