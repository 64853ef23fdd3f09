from tests.contracts.writeback import WritebackContract


class TestWriteback(WritebackContract):
    pass
