"""LFM2 (Liquid AI 2025) in torch, as small as wanted: gated short convolutions and grouped-query attention with normed queries and keys.

Matrices are (outputs, inputs), as in model files; names are theirs too.
"""

from dataclasses import dataclass

import torch
from torch.nn import functional as F

EPS = 1e-5


@dataclass(frozen=True)
class Shape:
    vocabulary: int = 3072
    hidden: int = 128
    feed_forward: int = 256
    heads: int = 4
    kv_heads: tuple[int, ...] = (0, 2, 0, 2, 0, 2, 0, 2)  # of each layer; 0: a convolution
    theta: float = 1e6
    context: int = 1024

    @property
    def head_dim(self) -> int:
        return self.hidden // self.heads


def initial(shape: Shape, seed: int) -> dict[str, torch.Tensor]:
    """Weights by name, in which copying is there from the start (an induction head: Olsson et al. 2022, arXiv:2209.11895).

    The first number of an embedding is the same for all tokens, so that gates can be open for all; the first convolution writes each
    token's predecessor into the state; half of the heads look for what followed their token before. The rest is random or zero. On one
    core a head would find this by itself only after hours.
    """
    random, hidden, wide, dim = torch.Generator().manual_seed(seed), shape.hidden, shape.feed_forward, shape.head_dim
    half = hidden // 2

    def matrix(rows, cols):
        return torch.randn(rows, cols, generator=random) / cols**0.5

    def blind(rows, cols):  # to the constant, with rows of length 1 at right angles
        found = torch.linalg.qr(torch.randn(cols, rows, generator=random))[0].T
        found[:, 0] = 0
        return found

    weights = {"token_embd": 0.5 * torch.randn(shape.vocabulary, hidden, generator=random), "token_embd_norm": torch.full((hidden,), 0.15)}
    weights["token_embd"][:, 0] = 3
    gate = (9 / hidden + 0.25) ** 0.5 / 3  # times the normed constant is 1
    before, place = blind(half, hidden), torch.linalg.qr(torch.randn(hidden, half, generator=random))[0]
    for layer, kv in enumerate(shape.kv_heads):
        at = f"blk.{layer}."
        weights |= {at + "attn_norm": torch.ones(hidden), at + "ffn_norm": torch.ones(hidden)}
        if kv:
            keys, group = kv * dim, shape.heads // kv
            key, query = matrix(keys, hidden), 0.3 * matrix(hidden, hidden)
            for head in range((kv + 1) // 2):
                own = slice(head * dim, (head + 1) * dim)
                mixed = matrix(dim, half)
                key[own], sought = mixed @ place.T, mixed @ before
                for each in range(head * group, (head + 1) * group):
                    query[each * dim : (each + 1) * dim] += sought
            key[:, 0] = query[:, 0] = 0
            value, output = blind(keys, hidden), torch.zeros(hidden, hidden)
            for each in range(shape.heads // 2):
                output[:, each * dim : (each + 1) * dim] = 0.8 * value[each // group * dim : (each // group + 1) * dim].T
            weights |= {at + "attn_q": query, at + "attn_k": key, at + "attn_v": value, at + "attn_output": output}
            weights |= {at + f"attn_{name}_norm": torch.full((dim,), 1.5) for name in "qk"}
        else:
            gates, passed = 0.3 * matrix(2 * hidden, hidden), blind(hidden, hidden)
            gates[:, 0] = gate
            output, filters = torch.zeros(hidden, hidden), torch.eye(3).repeat(hidden // 3 + 1, 1)[:hidden]
            if layer == 0:
                passed[:half], filters[:half] = before, torch.tensor((0.0, 1.0, 0.0))
                output[:, :half] = 0.5 * place
            weights |= {
                at + "shortconv.in_proj": torch.cat((gates, passed)),
                at + "shortconv.conv": filters,
                at + "shortconv.out_proj": output,
            }
        weights |= {at + "ffn_gate": matrix(wide, hidden), at + "ffn_up": matrix(wide, hidden), at + "ffn_down": torch.zeros(hidden, wide)}
    return weights


def is_matrix(name: str) -> bool:
    """Of a layer: what Muon trains and what is quantised, beside the embedding."""
    return name.startswith("blk.") and not name.endswith(("norm", "conv"))


def states(shape: Shape, w: dict[str, torch.Tensor], ids: torch.Tensor, places: torch.Tensor) -> tuple[torch.Tensor, list]:
    """Of ids (texts, tokens), at some places (texts, places): what the output is made of, (texts, places, hidden), and for ``looks`` the
    queries and keys of each layer of attention.
    """
    x, tokens = F.embedding(ids, w["token_embd"]), ids.shape[1]
    angles = torch.arange(tokens)[:, None] * shape.theta ** (-torch.arange(0, shape.head_dim, 2) / shape.head_dim)
    turn, attended = (angles.cos(), angles.sin()), []  # turn: (tokens, pairs)
    for layer, kv in enumerate(shape.kv_heads):
        at = f"blk.{layer}."
        h = norm(x, w[at + "attn_norm"])
        if kv:
            mixed, *pair = attention(shape, w, at, kv, h, turn)
            attended.append(pair)
        else:
            mixed = convolution(w, at, h)
        x = x + mixed
        h = norm(x, w[at + "ffn_norm"])
        x = x + (F.silu(h @ w[at + "ffn_gate"].T) * (h @ w[at + "ffn_up"].T)) @ w[at + "ffn_down"].T
    return norm(x.gather(1, places[..., None].expand(-1, -1, shape.hidden)), w["token_embd_norm"]), attended


def norm(x, weight):
    return F.rms_norm(x, weight.shape, weight, EPS)


def convolution(w, at, h):
    b, c, x = (h @ w[at + "shortconv.in_proj"].T).chunk(3, -1)
    columns, filters = F.pad(b * x, (0, 0, 2, 0)), w[at + "shortconv.conv"].T
    mixed = sum(filters[j] * columns[:, j : j + h.shape[1]] for j in range(3))
    return (c * mixed) @ w[at + "shortconv.out_proj"].T


def attention(shape, w, at, kv, h, turn):
    texts, tokens, _ = h.shape
    q, k, v = ((h @ w[f"{at}attn_{name}"].T).view(texts, tokens, -1, shape.head_dim).transpose(1, 2) for name in "qkv")
    q, k = rotated(norm(q, w[at + "attn_q_norm"]), turn), rotated(norm(k, w[at + "attn_k_norm"]), turn)
    k, v = (each.repeat_interleave(shape.heads // kv, 1) for each in (k, v))
    mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
    return mixed.transpose(1, 2).reshape(texts, tokens, -1) @ w[at + "attn_output"].T, q, k


def looks(q, k, places):
    """Where heads look from some places (texts, places): (texts, heads, places, tokens), of sum 1 over tokens."""
    seen = q.gather(2, places[:, None, :, None].expand(-1, q.shape[1], -1, q.shape[3])) @ k.mT / q.shape[3] ** 0.5
    later = torch.arange(k.shape[2]) > places[:, None, :, None]
    return seen.masked_fill(later, -torch.inf).softmax(-1)


def rotated(x, turn):
    (cos, sin), (one, other) = turn, x.chunk(2, -1)
    return torch.cat((one * cos - other * sin, one * sin + other * cos), -1)
