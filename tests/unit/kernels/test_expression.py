"""The arithmetic of sizes: what Python says is what the compiled check says."""

import ctypes

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pyruvllm.kernels.expression import Expression
from wasm_kernels import build

TEXTS = (
    *("n * m", "n * m * k", "n + m", "n - m", "n / m", "n % m", "n / 32 * 18", "(n + 3) / 4 * m"),
    *("n * m <= k", "n % 32 == 0 and m > 0", "n != m"),
)
WRONG = ("n ** 2", "f(n)", "n if m else k", "'n'", "1.5 * n", "-1", "n < m < k", "n or m", "n.m", "n[0]", "", "n +")
NUMBERS = st.integers(0, 2**32 - 1) | st.sampled_from([0, 1, 2**16, 2**31, 2**32 - 1])


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    """The expressions as the build translates them, compiled for this machine."""
    folder = tmp_path_factory.mktemp("expressions")
    functions = [f"u64 e{at}(const args *a) {{ return {Expression(text).c}; }}" for at, text in enumerate(TEXTS)]
    source = '#include "abi.h"\ntypedef struct { u32 n, m, k; } args;\n' + "\n".join(functions)
    (folder / "e.c").write_text(source)
    build.zig(["cc", "-O1", "-shared", "-fPIC", "-I", str(build.HERE), "-o", str(folder / "e.so"), str(folder / "e.c")])
    library = ctypes.CDLL(str(folder / "e.so"))
    for at in range(len(TEXTS)):
        getattr(library, f"e{at}").restype = ctypes.c_uint64
    return library


@given(NUMBERS, NUMBERS, NUMBERS)
@example(2**32 - 1, 2**32 - 1, 2**32 - 1)
@example(2**31, 2**32 - 1, 2)
@example(0, 0, 0)
def test_python_and_c_agree(compiled, n, m, k):
    given_ = (ctypes.c_uint32 * 3)(n, m, k)
    for at, text in enumerate(TEXTS):
        assert Expression(text)({"n": n, "m": m, "k": k}) == getattr(compiled, f"e{at}")(given_), text


@pytest.mark.parametrize("text", WRONG)
def test_anything_else_is_no_expression(text):
    with pytest.raises(ValueError, match="expression|allowed"):
        Expression(text)


def test_a_tampered_manifest_cannot_run_code_through_it():
    with pytest.raises(ValueError):
        Expression("__import__('os').system('true')")
