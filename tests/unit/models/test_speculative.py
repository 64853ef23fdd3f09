from tests.contracts.speculative import *  # noqa: F403
