from tests.contracts.commands import CommandContract
from tests.contracts.kernels import KernelContract


class TestKernels(KernelContract):
    pass


class TestCommands(CommandContract):
    pass
