"""Opens GGUF files that nobody should make, and looks whether anything but this package's own errors comes of it.

    ./build.sh fuzz [--seconds 600] [--seed 0]

Guided by coverage with atheris, which goes into an environment of its own under build/ at the first run. What it keeps is in
build/fuzz/corpus, what it broke with in build/fuzz/found. A short run without it, the same each time, is among the unit tests.
"""

import argparse
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from pyruvllm.errors import RuvLLMError
from pyruvllm.kernels.registry import KernelRegistry
from pyruvllm.models.gguf import KINDS, GgufWriter, Incomplete, read_head
from pyruvllm.models.language import LanguageModel
from pyruvllm.models.sampling import Sampling
from pyruvllm.models.tokenizer.bytebpe import ALPHABET
from tests.generators.decoders import LAYERS, model_file

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "build" / "fuzz"
KERNELS = KernelRegistry(None)  # the twins: what is being tried is what reads files, not kernels
SPECIAL = [0, 1, 2, 7, 8, 31, 32, 127, 128, 255, 256, 2**16 - 1, 2**16, 2**24, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**63, 2**64 - 1]


def corpus() -> list[bytes]:
    """Small files of each architecture, and one of each kind of tensor, with a tokenizer and a template."""
    sizes = {"hidden": 32, "feed_forward": 32, "heads": 4, "vocabulary": 257}
    plain = [model_file(architecture, **sizes) for architecture in LAYERS]
    quantised = [model_file("lfm2", kind, **sizes) for kind in ("f16", "q8_0", "q4_0")]
    quantised += [_of_kind(plain[0], kind) for kind in ("bf16", "q4_1", "q5_0", "q5_1")]
    wide = model_file("qwen2", **{**sizes, "hidden": 256, "feed_forward": 256})
    quantised += [_of_kind(wide, kind) for kind in ("q4_k", "q5_k", "q6_k")]
    return [_whole(file) for file in [*plain, *quantised]]


def _of_kind(file: bytes, kind: str) -> bytes:
    """With blocks of small bytes for the matrices."""
    head, random = read_head(file), np.random.default_rng(1)
    writer = GgufWriter(head.metadata)
    for tensor in head.tensors.values():
        if len(tensor.shape) == 2 and not tensor.shape[1] % KINDS[kind].values:
            writer.add_raw(tensor.name, random.integers(0, 32, KINDS[kind].size(tensor.shape), dtype=np.uint8), kind, tensor.shape)
        else:
            writer.add_raw(tensor.name, file[tensor.offset : tensor.offset + tensor.size], tensor.kind.name, tensor.shape)
    return writer.bytes()


def _whole(file: bytes) -> bytes:
    head = read_head(file)
    own = {"tokenizer.ggml.model": "gpt2", "tokenizer.ggml.pre": "lfm2", "tokenizer.ggml.merges": ["a b", "Ġ t"]}
    own |= {"tokenizer.ggml.tokens": [*ALPHABET, "<|im_end|>"], "tokenizer.ggml.eos_token_id": 256}
    own |= {"tokenizer.ggml.token_type": np.array([1] * 256 + [3], np.int32), "tokenizer.chat_template": "{{ messages[0].content }}"}
    writer = GgufWriter({**head.metadata, **own})
    for tensor in head.tensors.values():
        writer.add_raw(tensor.name, file[tensor.offset : tensor.offset + tensor.size], tensor.kind.name, tensor.shape)
    return writer.bytes()


def attempt(data: bytes) -> str:
    """What came of it: "opened", or the class of the error. Raises what should not be."""
    try:
        model = LanguageModel(data, KERNELS, context=8)
        model.generate("ab", Sampling(temperature=0), max_tokens=1)
        model.runner.feed(model.tokenizer.encode("ab")[:2])
        model.close()
    except (RuvLLMError, Incomplete, MemoryError) as error:
        return type(error).__name__
    return "opened"


def mutated(files: list[bytes], seed: int, rounds: int) -> Iterator[bytes]:
    """The same for the same seed: heads with bytes, words and lengths changed, parts cut, doubled and put elsewhere."""
    rng = np.random.default_rng(seed)
    heads = [read_head(file).size for file in files]
    tensors = [[(tensor.name, tensor.shape[::-1]) for tensor in read_head(file).tensors.values()] for file in files]
    for _ in range(rounds):
        number = int(rng.integers(len(files)))
        data, head = bytearray(files[number]), heads[number]
        for _ in range(int(rng.integers(1, 5))):
            at, kind = int(rng.integers(min(head, len(data)))), rng.integers(8)
            if kind == 0:
                data[at] ^= 1 << int(rng.integers(8))
            elif kind == 1:
                size = int(rng.choice([1, 2, 4, 8]))
                data[at : at + size] = SPECIAL[int(rng.integers(len(SPECIAL)))].to_bytes(8, "little")[:size]
            elif kind == 2:
                del data[at : at + int(rng.integers(1, 40))]
            elif kind == 3:
                data[at:at] = data[at : at + int(rng.integers(1, 40))]
            elif kind == 4:
                other = files[int(rng.integers(len(files)))]
                start = int(rng.integers(head))
                data[at : at + 32] = other[start : start + 32]
            elif kind == 5:
                del data[int(rng.integers(len(data))) :]
            elif kind == 7:  # a tensor has other axes, of as many numbers: its columns twice as long or half, or turned round
                name, axes = tensors[number][int(rng.integers(len(tensors[number])))]
                place = data.find(name.encode()) + len(name.encode()) + 4
                if place > len(name) + 4 and len(axes) == 2:
                    changed = [(axes[0] * 2, axes[1] // 2), (axes[0] // 2, axes[1] * 2), axes[::-1]][int(rng.integers(3))]
                    data[place : place + 16] = b"".join(axis.to_bytes(8, "little") for axis in changed)
            else:  # a word that stands there is written somewhere else, so that counts and numbers of types are tried
                start = int(rng.integers(min(head, len(data))))
                data[at : at + 4] = data[start : start + 4]
            if not data:
                break
        yield bytes(data)


def _environment() -> Path:
    """An interpreter with atheris."""
    python = FOLDER / "python" / "bin" / "python"
    if not (FOLDER / "ready").exists():
        print("installing atheris", file=sys.stderr)  # noqa: T201
        subprocess.run([sys.executable, "-m", "venv", FOLDER / "python"], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", "--only-binary", ":all:", "atheris", "numpy", "jinja2"], check=True)
        (FOLDER / "ready").touch()
    return python


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=int, default=600)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    for name in ("corpus", "found"):
        (FOLDER / name).mkdir(parents=True, exist_ok=True)
    for number, file in enumerate(corpus()):
        (FOLDER / "corpus" / f"valid-{number}").write_bytes(file)
    limits = [f"-max_total_time={options.seconds}", f"-seed={options.seed + 1}", "-max_len=200000", "-timeout=20", "-rss_limit_mb=4096"]
    asked = [_environment(), "-m", "tests.fuzz.guided", FOLDER / "corpus", f"-artifact_prefix={FOLDER / 'found'}/", *limits]
    return subprocess.run(asked, cwd=ROOT).returncode


if __name__ == "__main__":
    sys.exit(main())
