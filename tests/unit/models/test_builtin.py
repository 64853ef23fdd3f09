from tests.contracts.builtin import BuiltinContract


class TestNative(BuiltinContract):
    pass
