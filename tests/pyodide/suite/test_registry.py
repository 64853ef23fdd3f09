from tests.contracts.registry import RegistryContract


class TestRegistry(RegistryContract):
    pass
