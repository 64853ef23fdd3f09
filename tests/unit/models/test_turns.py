from tests.contracts.turns import *  # noqa: F403
from tests.contracts.turns_cache import *  # noqa: F403
