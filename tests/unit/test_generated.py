from tests.contracts.generated import GeneratedContract


class TestNative(GeneratedContract):
    pass
