from tests.contracts.cache import CacheContract


class TestNative(CacheContract):
    pass
