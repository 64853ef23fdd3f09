from tests.contracts.constrain import *  # noqa: F403
