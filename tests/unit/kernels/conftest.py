import pytest


@pytest.fixture(scope="session")
def library():
    """The bundled kernels in wasmtime's memory (pyruvllm.kernels.library.Library)."""
    from tests.contracts.kernels import library

    return library()
