from tests.contracts.turns import *  # noqa: F403
