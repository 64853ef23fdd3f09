from tests.contracts.oracle import OracleContract


class TestNative(OracleContract):
    pass
