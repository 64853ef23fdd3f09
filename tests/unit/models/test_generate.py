from tests.contracts.generation import *  # noqa: F403
from tests.unit.models.test_decoder import kernels  # noqa: F401
