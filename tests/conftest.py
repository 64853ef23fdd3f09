"""What every test run shares, on native Python and inside Pyodide alike."""

import sys

import pytest
from hypothesis import HealthCheck, settings

pytest.register_assert_rewrite("tests.contracts", "tests.generators")  # they are imported, not collected, and assert all the same

slow = [HealthCheck.too_slow]
settings.register_profile("native", deadline=None, suppress_health_check=slow)
settings.register_profile("pyodide", deadline=None, suppress_health_check=slow, derandomize=True)  # and few examples: pyodide/plugin.py
settings.load_profile("pyodide" if sys.platform == "emscripten" else "native")
