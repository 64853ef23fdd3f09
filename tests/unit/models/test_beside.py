from tests.contracts.beside import BesideContract


class TestNative(BesideContract):
    pass
