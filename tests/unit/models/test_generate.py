from tests.contracts.generation import *  # noqa: F403
