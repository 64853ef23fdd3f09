from tests.contracts.builtin import BuiltinContract


class TestPyodide(BuiltinContract):
    pass
