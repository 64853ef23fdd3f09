import numpy as np

from pyruvllm.embed.projection import paley, project, sylvester


def test_columns_are_orthonormal():
    matrix = project(np.eye(384, dtype=np.float32))  # (384, 768): its rows are the map's columns
    assert np.abs(matrix @ matrix.T - np.eye(384)).max() < 1e-5
    assert np.allclose(np.abs(matrix), 768**-0.5)


def test_factors_are_hadamard_matrices():
    for factor, order in ((paley(), 12), (sylvester(), 64)):
        assert factor.shape == (order, order) and set(np.unique(factor)) == {-1, 1}
        assert (factor @ factor.T == order * np.eye(order)).all()


def test_same_as_the_whole_matrix_in_one_product():
    vectors = np.random.default_rng(1).standard_normal((5, 384)).astype(np.float32)
    whole = np.kron(paley(), sylvester())[:, :384] / np.sqrt(768)
    assert np.allclose(project(vectors), vectors @ whole.T, atol=1e-5)


def test_cosines_stay():
    vectors = np.random.default_rng(2).standard_normal((20, 384)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    mapped = project(vectors)
    assert np.abs(mapped @ mapped.T - vectors @ vectors.T).max() < 1e-5
