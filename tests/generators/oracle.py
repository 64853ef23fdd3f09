"""Golden logits and tokens of Hugging Face's transformers, which decoders are tested against; they are kept in tests/contracts/oracle.npz.

    python -m venv oracle && oracle/bin/pip install torch transformers     (gigabytes; no test needs them)
    oracle/bin/python -m tests.generators.oracle tests/contracts/oracle.npz [lfm2 llama qwen2 qwen3 built-in]

Small models with random weights (decoders.model_file) and the model that ships with the package are read from their GGUF files, whose
numbers are given to Lfm2ForCausalLM, LlamaForCausalLM, Qwen2ForCausalLM and Qwen3ForCausalLM in float32. Of each file the archive has the
sha256, so that another file is noticed. Names and the order of Llama's rotation: llama.cpp's convert_hf_to_gguf, backwards.
"""

import hashlib
import sys
from pathlib import Path

import numpy as np
import torch
import transformers

from pyruvllm.models import builtin
from pyruvllm.models.gguf import dequantize, read_head
from pyruvllm.models.tokenizer import load
from tests.generators.decoders import LAYERS, model_file, rounded

KINDS = ("f16", "q8_0", "q4_0", "q4_k", "q6_k")
GREEDY = 256
SEEDS = 8  # of which the one is taken whose closest decision between two tokens is clearest
SHIPPED = "built-in"  # the model of the package, beside the architectures
ASKED = (
    "<|im_start|>user\nQuestion: When does the lease end?\n\nNotes:\n[1] Lease: It runs for three years and ends on 31 January 2029.\n\n"
    "Question: When does the lease end?<|im_end|>\n<|im_start|>assistant\n"
)
NAMES = {
    "attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm", "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj", "attn_output": "self_attn.o_proj", "attn_q_norm": "self_attn.q_norm", "attn_k_norm": "self_attn.k_norm",
    "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj",
}  # fmt: skip
LFM2 = {
    "attn_norm": "operator_norm", "ffn_norm": "ffn_norm", "attn_output": "self_attn.out_proj", "attn_q_norm": "self_attn.q_layernorm",
    "attn_k_norm": "self_attn.k_layernorm", "shortconv.conv": "conv.conv", "shortconv.in_proj": "conv.in_proj",
    "shortconv.out_proj": "conv.out_proj", "ffn_gate": "feed_forward.w1", "ffn_up": "feed_forward.w3", "ffn_down": "feed_forward.w2",
}  # fmt: skip
WHOLE = {"token_embd": "model.embed_tokens", "output": "lm_head", "output_norm": "model.norm", "token_embd_norm": "model.embedding_norm"}


def oracle(file: bytes) -> torch.nn.Module:
    """transformers' model with the numbers of a GGUF file, float32."""
    head = read_head(file)
    meta, architecture = head.metadata, head.metadata["general.architecture"]
    given = {key.removeprefix(architecture + "."): value for key, value in meta.items()}
    kv_heads, layers = given["attention.head_count_kv"], given["block_count"]
    kv_heads = kv_heads.tolist() if isinstance(kv_heads, np.ndarray) else [kv_heads] * layers
    common = {
        "vocab_size": head.tensors["token_embd.weight"].shape[0],
        "hidden_size": given["embedding_length"],
        "intermediate_size": given["feed_forward_length"],
        "num_hidden_layers": layers,
        "num_attention_heads": given["attention.head_count"],
        "num_key_value_heads": max(kv_heads),
        "max_position_embeddings": given["context_length"],
        "rope_parameters": {"rope_type": "default", "rope_theta": float(given["rope.freq_base"])},
        "tie_word_embeddings": "output.weight" not in head.tensors,
        "attn_implementation": "eager",
    }
    eps = float(given["attention.layer_norm_rms_epsilon"])
    if architecture == "lfm2":
        kinds = ["full_attention" if kv else "conv" for kv in kv_heads]
        own = {"norm_eps": eps, "layer_types": kinds, "conv_L_cache": given["shortconv.l_cache"], "block_auto_adjust_ff_dim": False}
        config = transformers.Lfm2Config(**common, **own)
        model = transformers.Lfm2ForCausalLM(config)
    else:
        kind = {"llama": "Llama", "qwen2": "Qwen2", "qwen3": "Qwen3"}[architecture]
        dim = given.get("attention.key_length", common["hidden_size"] // common["num_attention_heads"])
        own = {} if architecture == "qwen2" else {"head_dim": dim}
        config = getattr(transformers, f"{kind}Config")(**common, rms_norm_eps=eps, **own)
        model = getattr(transformers, f"{kind}ForCausalLM")(config)
    numbers = {name: torch.tensor(dequantize(t, file[t.offset : t.offset + t.size])) for name, t in head.tensors.items()}
    state = dict(renamed(name, value, architecture, common["num_attention_heads"], max(kv_heads)) for name, value in numbers.items())
    missing, unexpected = model.load_state_dict(state, strict=False)
    assert not unexpected and not set(missing) - {"lm_head.weight"}, (missing, unexpected)
    model.tie_weights()
    return model.eval().float()


def renamed(name: str, value: torch.Tensor, architecture: str, heads: int, kv_heads: int) -> tuple[str, torch.Tensor]:
    """As transformers has it: the name, and for Llama the rows of queries and keys in the order of halves."""
    parts = name.split(".")
    if parts[0] != "blk":
        return f"{WHOLE[parts[0]]}.{parts[1]}", value
    short, kind = ".".join(parts[2:-1]), parts[-1]
    if architecture == "llama" and short in ("attn_q", "attn_k"):
        count = heads if short == "attn_q" else kv_heads
        value = value.view(count, -1, 2, value.shape[-1]).transpose(1, 2).reshape(value.shape)
    if short == "shortconv.conv":
        value = value[:, None]
    names = NAMES | LFM2 if architecture == "lfm2" else NAMES
    return f"model.layers.{parts[1]}.{names[short]}.{kind}", value


@torch.no_grad()
def said(model: torch.nn.Module, ids: list[int]) -> tuple[np.ndarray, list[int], float]:
    """Logits (tokens, vocabulary) of ids, the next GREEDY tokens, and the least distance between the best two logits of one of them."""
    logits = model(torch.tensor([ids])).logits[0].numpy()
    made, margin = list(ids), np.inf
    for _ in range(GREEDY):  # the whole text anew each time: no cache is trusted
        row = model(torch.tensor([made])).logits[0, -1]
        best = row.topk(2)
        margin = min(margin, (best.values[0] - best.values[1]).item() / row.abs().max().item())
        made.append(int(best.indices[0]))
    return logits, made[len(ids) :], margin


def main(out: Path, names: list[str]) -> None:
    torch.set_num_threads(1)
    kept = dict(np.load(out)) if out.exists() else {}
    kept["versions"] = np.array([f"torch {torch.__version__}", f"transformers {transformers.__version__}"])
    for name in names or [*LAYERS, SHIPPED]:
        file, ids, seed, (logits, made, margin) = shipped() if name == SHIPPED else clearest(name)
        print(f"{name}: seed {seed}, closest decision {margin:.3%} of the largest logit")  # noqa: T201
        rows = logits[[0, 1, 19, len(ids) - 1]].astype(np.float32)
        kept |= {f"{name}/seed": seed, f"{name}/ids": ids, f"{name}/logits": rows, f"{name}/greedy": made}
        kept[f"{name}/sha256"] = hashlib.sha256(file).hexdigest()
        for kind in KINDS[:3] if name == SHIPPED else KINDS:  # its rows are too short for the others
            file = rounded(file, kind) if name == SHIPPED else model_file(name, kind, hidden=256, feed_forward=512, seed=seed)
            with torch.no_grad():
                kept[f"{name}/{kind}"] = oracle(file)(torch.tensor([ids])).logits[0, -1].numpy()
    np.savez_compressed(out, **kept)


def clearest(architecture: str):
    """The random model, of SEEDS, whose closest decision is the clearest: rounding of keys and values must not turn one over."""
    found = []
    for seed in range(SEEDS):
        file, ids = model_file(architecture, seed=seed), np.random.default_rng(seed).integers(0, 160, 40).tolist()
        found.append((file, ids, seed, said(oracle(file), ids)))
    return max(found, key=lambda each: each[3][2])


def shipped():
    file = rounded(builtin.data(), "f32")
    ids = load(read_head(file).metadata).encode(ASKED, special=True, bounds=True)
    return file, ids, 0, said(oracle(file), ids)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
