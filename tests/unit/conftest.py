import asyncio
import functools
import itertools

import pytest

from tests.contracts.speaker import Decoders
from tests.registries import steady


@pytest.fixture(scope="session", autouse=True)
def threads_that_sleep():
    """onnxruntime's threads wait asleep: beside other work, and most sessions here are tiny, spinning costs more than the models do."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(onnxruntime, "InferenceSession", functools.partial(onnxruntime.InferenceSession, sess_options=options))
        yield


@pytest.fixture(scope="session")
def kernels():
    """A KernelRegistry, one for all tests: the first use of a kernel tests it."""
    return asyncio.run(steady())


@pytest.fixture
def speakers(kernels):
    """Models from GGUF files; a module of models of another kind has its own."""
    return Decoders(kernels)


@pytest.fixture
def as_file(tmp_path):
    """(bytes) to a path that ``models.load`` takes."""
    count = itertools.count()

    def as_file(data):
        path = tmp_path / f"model-{next(count)}.gguf"
        path.write_bytes(data)
        return path

    return as_file
