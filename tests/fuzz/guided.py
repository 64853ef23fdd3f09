"""The part of tests/fuzz/gguf.py for the interpreter with atheris: what reads files is instrumented as it is imported."""

import sys

import atheris

with atheris.instrument_imports(include=["pyruvllm.models", "pyruvllm.kernels.weights"]):
    from tests.fuzz.gguf import attempt


def tried(data: bytes) -> None:
    attempt(data)


if __name__ == "__main__":
    atheris.Setup(sys.argv, tried)
    atheris.Fuzz()
