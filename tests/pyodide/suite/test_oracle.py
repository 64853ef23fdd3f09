from tests.contracts.oracle import OracleContract


class TestPyodide(OracleContract):
    pass
