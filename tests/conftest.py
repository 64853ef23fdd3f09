"""What every test run shares, on native Python and inside Pyodide alike."""

import gc
import os
import sys

import pytest
from hypothesis import HealthCheck, settings

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # read when numpy is imported: its threads burn time where other work is beside them
pytest.register_assert_rewrite("tests.contracts", "tests.generators")  # they are imported, not collected, and assert all the same

slow = [HealthCheck.too_slow]
settings.register_profile("native", deadline=None, suppress_health_check=slow)
settings.register_profile("pyodide", deadline=None, suppress_health_check=slow, max_examples=20)  # loops are five times slower there
settings.load_profile("pyodide" if sys.platform == "emscripten" else "native")


def pytest_collection_finish():
    """All that was imported stays until the end: looking through it at each full collection took as long as the tests themselves."""
    gc.collect()
    gc.freeze()
