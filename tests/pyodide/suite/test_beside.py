import js
import pytest

from pyruvllm import host
from tests.contracts.beside import BesideContract


class TestPyodide(BesideContract):
    @pytest.fixture
    def as_file(self):
        return lambda data: js.Blob.new(host.current().to_js([data]))
