from tests.contracts.speculative import *  # noqa: F403
from tests.unit.models.test_decoder import kernels  # noqa: F401
