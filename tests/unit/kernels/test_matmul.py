import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st


def multiplied(library, name, a, b):
    (m, k), n = a.shape, b.shape[1]
    c = np.full((m, n), np.nan, np.float32)
    library.kernel("matmul", name)(a=a, b=b, c=c, m=m, k=k, n=n)
    return c


def names(library):
    return [name for name in library.names("matmul") if name != "reference"]


@settings(max_examples=20, deadline=None)
@given(sides=st.tuples(*[st.integers(0, 40)] * 3), seed=st.integers(0, 99))
def test_whole_numbers_are_multiplied_exactly(library, sides, seed):
    rng, (m, k, n) = np.random.default_rng(seed), sides
    a, b = (rng.integers(-8, 9, shape).astype(np.float32) for shape in ((m, k), (k, n)))
    for name in names(library):
        np.testing.assert_array_equal(multiplied(library, name, a, b), a @ b)


@pytest.mark.parametrize(("m", "k", "n"), [(1024, 1025, 1030), (513, 1200, 512), (512, 512, 512), (511, 700, 700)])
def test_strassen_of_two_levels_and_odd_sides(library, m, k, n):
    rng = np.random.default_rng(m)
    a, b = rng.integers(-3, 4, (m, k)).astype(np.float32), rng.integers(-3, 4, (k, n)).astype(np.float32)
    exact = a @ b  # whole numbers far below 2**24, sums and differences of them too
    for name in names(library):
        if "strassen" in name:
            np.testing.assert_array_equal(multiplied(library, name, a, b), exact)


@settings(max_examples=20, deadline=None)
@given(rows=st.integers(0, 30), cols=st.integers(0, 70), seed=st.integers(0, 99))
def test_a_matrix_times_a_vector(library, rows, cols, seed):
    rng = np.random.default_rng(seed)
    w, x = rng.integers(-8, 9, (rows, cols)).astype(np.float32), rng.integers(-8, 9, cols).astype(np.float32)
    for name in library.names("matvec"):
        y = np.full(rows, np.nan, np.float32)
        library.kernel("matvec", name)(w=w, x=x, y=y, rows=rows, cols=cols)
        np.testing.assert_array_equal(y, w @ x)
