"""How near two vectors are, for each metric: one product, and for L2 a constant per row.

Inside the index nearness is a *closeness*, higher is nearer, such that a whole block of rows costs one product:

    cosine   x . y                      both stored at length one
    ip       x . y
    l2       x . y - |x|^2 / 2 - |y|^2 / 2  =  -|x - y|^2 / 2

`halves` below are the |x|^2 / 2 of rows, and None for the other two metrics. What a caller sees is a *score*, also higher is
better: the cosine, the inner product, or the negative squared Euclidean distance.
"""

import numpy as np

from .errors import DimensionError, NonFiniteError, ParameterError, ZeroVectorError

METRICS = ("ip", "l2", "cosine")  # their places are the numbers that accelerators know them by
_LONGEST = 1e18  # of a vector under ip and l2: products of two such still fit float32


class Metric:
    """One of `METRICS` over vectors of one dimension.

    Raises ParameterError for another name, or a dimension that is not a positive integer.
    """

    def __init__(self, name: str, dim: int) -> None:
        if name not in METRICS:
            raise ParameterError(f"metric is {name!r}; it is one of {', '.join(METRICS)}")
        if isinstance(dim, bool) or not isinstance(dim, int | np.integer) or dim < 1:
            raise ParameterError(f"dim is {dim!r}; it is a positive integer")
        self.name = name
        self.dim = int(dim)

    def read(self, vectors, what: str) -> tuple[np.ndarray, np.ndarray]:
        """Checks vectors of a caller. Returns them as (n, dim) float32 and their squared lengths (n,) float64.

        A single vector (dim,) is taken as one row. Raises DimensionError, NonFiniteError, ZeroVectorError; `what` names them.
        """
        rows = self.rows(vectors, what)
        return rows, self.squares(rows, what)

    def rows(self, vectors, what: str) -> np.ndarray:
        """The half of `read` that looks at type and shape alone."""
        rows = vectors
        if type(rows) is not np.ndarray or rows.dtype != np.float32:
            try:
                with np.errstate(over="ignore"):  # a float64 beyond float32 becomes inf, and is named by `squares`
                    rows = np.asarray(vectors, dtype=np.float32)
            except (TypeError, ValueError) as error:
                raise DimensionError(f"{what} are rows of {self.dim} numbers: {error}") from None
        if rows.ndim == 1:
            rows = rows[None]
        if rows.ndim != 2 or rows.shape[1] != self.dim:
            raise DimensionError(f"{what} have shape {np.shape(vectors)}; expected (n, {self.dim})")
        return rows

    def squares(self, rows: np.ndarray, what: str) -> np.ndarray:
        """The other half: squared lengths of rows (n, dim), (n,) float64, which show what has no place in this metric."""
        squares = np.einsum("ij,ij->i", rows, rows, dtype=np.float64)
        limit = np.inf if self.name == "cosine" else _LONGEST**2
        bad = np.flatnonzero(~(squares < limit))
        if bad.size:
            raise NonFiniteError(f"{what}: row {bad[0]} has a NaN or an infinity, or is longer than {_LONGEST:g}")
        if self.name == "cosine" and not squares.all():
            raise ZeroVectorError(f"{what}: row {np.argmin(squares)} is zero; under cosine every vector needs a direction")
        return squares

    def prepare(self, rows: np.ndarray, squares: np.ndarray) -> np.ndarray:
        """Rows as the index holds and asks for them, (n, dim) float32: of length one under cosine, else as they are."""
        if self.name != "cosine":
            return rows
        return (rows / np.sqrt(squares)[:, None]).astype(np.float32)

    def halves(self, rows: np.ndarray) -> np.ndarray | None:
        """|x|^2 / 2 of each row, (n,) float32, under l2; None otherwise."""
        return np.einsum("ij,ij->i", rows, rows) / 2 if self.name == "l2" else None

    def scores(self, rows: np.ndarray, query: np.ndarray) -> np.ndarray:
        """Scores of rows (n, dim) against a query (dim,), (n,) float32. L2 is taken from differences, which keeps near ones exact."""
        if self.name == "l2":
            away = rows - query
            return -np.einsum("ij,ij->i", away, away)
        products = rows @ query
        return np.clip(products, -1, 1) if self.name == "cosine" else products
