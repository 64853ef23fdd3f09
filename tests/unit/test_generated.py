from tests.contracts.generated import GeneratedFromFilesContract


class TestNative(GeneratedFromFilesContract):
    pass
