"""Language models that are known to run here: where their files are, how large they are, what they need, and whose licence they have.

LFM2's figures are those of Liquid AI's repositories, the others' of their makers'. A sha256 is named only where it is public; other files
are pinned to the hash with which they first come (``store``).
"""

from dataclasses import dataclass, field

from ..errors import NotFoundError
from ..host import Device
from .footprint import Footprint, footprint
from .gguf import KINDS
from .parts import is_matrix, tensor_forms
from .shape import Shape

CONTEXT = 4096  # tokens that the figures are for
BUILT_IN = "built-in"
HUB = "https://huggingface.co/"
LFM = "LFM Open License v1.0"
APACHE = "Apache-2.0"
TIGHT = 0.5  # of the machine's memory, above which a model is called tight,
MOST = 0.75  # and above which it is said not to fit


@dataclass(frozen=True)
class Fit:
    """verdict: "fits", "tight" or "too large"; why: in a sentence, with the figures."""

    verdict: str
    why: str


@dataclass(frozen=True)
class CatalogEntry:
    """size: bytes of the file, exact where ``sha256`` is there, else to within 2 %. template: the family of its chat template."""

    id: str
    title: str
    maker: str
    url: str
    size: int
    quantization: str
    licence: str
    shape: Shape = field(repr=False)
    vocabulary: int = field(repr=False)
    kind: str = field(repr=False)  # of its matrices
    embedding: str = field(repr=False)  # kind of its embedding,
    output: str | None = field(default=None, repr=False)  # and of the matrix that makes logits, where that is another
    template: str = "ChatML"
    sha256: str | None = None

    def tensors(self) -> dict[str, tuple[str, tuple[int, ...]]]:
        """Kind and shape of each tensor of the file."""
        forms, optional = tensor_forms(self.shape)
        absent = {name for name in optional if name.endswith(("_norm.weight", "attn_output.bias"))}
        absent |= {name for name in optional if name.endswith(".bias")} if self.shape.architecture != "qwen2" else set()
        absent |= {"rope_freqs.weight"} | (set() if self.output else {"output.weight"})
        found = {}
        for name, form in forms.items():
            if name not in absent:
                kind = {"token_embd.weight": self.embedding, "output.weight": self.output}.get(name, self.kind) or self.kind
                found[name] = (kind if is_matrix(name, form) else "f32", (form[0] or self.vocabulary, *form[1:]))
        return found

    @property
    def data_bytes(self) -> int:
        """Of the tensors in the file, without its head."""
        return sum(KINDS[kind].size(form) for kind, form in self.tensors().values())

    def footprint(self, context: int = CONTEXT) -> Footprint:
        return footprint(self.shape, self.tensors(), min(context, self.shape.context))


def fits(needed: int, device: Device, *, held: int = 0) -> Fit:
    """Whether a model that needs so many bytes has room here; held: bytes that the one it takes the place of gives back."""
    room = None if device.limit is None else device.limit - (device.heap or 0) + held
    if room is not None and needed > room:
        return Fit("too large", f"It needs {_size(needed)}, and Python's memory has room for {_size(max(room, 0))} more.")
    if device.memory is None:
        return Fit("fits", f"It needs {_size(needed)}. This device does not say how much memory it has.")
    told = f"It needs {_size(needed)} of the {_size(device.memory)} that this device says it has"
    if needed > MOST * device.memory:
        return Fit("too large", f"{told}.")
    if needed > TIGHT * device.memory:
        return Fit("tight", f"{told}: other tabs and programs may have to make room.")
    return Fit("fits", f"{told}.")


def _size(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"


def _lfm2(name: str, size: int, hidden: int, feed_forward: int, heads: int, attention: tuple[int, ...], layers: int) -> CatalogEntry:
    kv_heads = tuple(8 if layer in attention else 0 for layer in range(layers))
    shape = Shape("lfm2", hidden, feed_forward, heads, kv_heads, 64, 64, 32768, 1e-5, 1e6, 3)
    url = f"{HUB}LiquidAI/LFM2-{name}-GGUF/resolve/main/LFM2-{name}-Q4_0.gguf"
    return CatalogEntry(f"lfm2-{name.lower()}", f"LFM2 {name}", "Liquid AI", url, size, "Q4_0", LFM, shape, 65536, "q4_0", "q6_k")


def _smollm2(name: str, size: int, hidden: int, feed_forward: int, heads: int, kv_heads: int, layers: int) -> CatalogEntry:
    shape = Shape("llama", hidden, feed_forward, heads, (kv_heads,) * layers, 64, 64, 8192, 1e-5, 1e5)
    url = f"{HUB}HuggingFaceTB/SmolLM2-{name}-Instruct-GGUF/resolve/main/smollm2-{name.lower()}-instruct-q8_0.gguf"
    return CatalogEntry(
        f"smollm2-{name.lower()}", f"SmolLM2 {name} Instruct", "Hugging Face", url, size, "Q8_0", APACHE, shape, 49152, "q8_0", "q8_0"
    )


_SIXTEEN = (2, 5, 8, 10, 12, 14)
CATALOG = (
    _lfm2("350M", 219_000_000, 1024, 4608, 16, _SIXTEEN, 16),
    _lfm2("700M", 446_000_000, 1536, 6912, 24, _SIXTEEN, 16),
    _lfm2("1.2B", 696_000_000, 2048, 8192, 32, _SIXTEEN, 16),
    _lfm2("2.6B", 1_483_000_000, 2048, 10752, 32, (2, 5, 9, 13, 17, 21, 24, 27), 30),
    _smollm2("135M", 145_000_000, 576, 1536, 9, 3, 30),
    _smollm2("360M", 386_000_000, 960, 2560, 15, 5, 32),
    CatalogEntry(
        "qwen2.5-0.5b", "Qwen2.5 0.5B Instruct", "Qwen",
        f"{HUB}Qwen/Qwen2.5-0.5B-Instruct-GGUF/resolve/main/qwen2.5-0.5b-instruct-q4_0.gguf",
        429_000_000, "Q4_0", APACHE, Shape("qwen2", 896, 4864, 14, (2,) * 24, 64, 64, 32768, 1e-6, 1e6), 151936, "q4_0", "q4_0", "q8_0",
    ),
    CatalogEntry(
        "qwen3-0.6b", "Qwen3 0.6B", "Qwen",
        f"{HUB}Qwen/Qwen3-0.6B-GGUF/resolve/main/Qwen3-0.6B-Q8_0.gguf",
        639_446_688, "Q8_0", APACHE, Shape("qwen3", 1024, 3072, 16, (8,) * 28, 128, 128, 40960, 1e-6, 1e6), 151936, "q8_0", "q8_0",
        sha256="9465e63a22add5354d9bb4b99e90117043c7124007664907259bd16d043bb031",
    ),
)  # fmt: skip


def find(id: str) -> CatalogEntry:
    """NotFoundError."""
    for entry in CATALOG:
        if entry.id == id:
            return entry
    raise NotFoundError(f"the catalogue has no model {id!r}; it has {', '.join(entry.id for entry in CATALOG)}")
