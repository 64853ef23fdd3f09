"""Generation, guessing and text held to a schema inside Pyodide."""

from tests.contracts.chat import *  # noqa: F403
from tests.contracts.constrain import (  # noqa: F401
    test_a_valid_value_can_be_said,
    test_values_of_any_depth,
    test_what_is_drawn_parses_and_is_valid_and_ends_in_time,
)
from tests.contracts.dialogue import *  # noqa: F403
from tests.contracts.generation import *  # noqa: F403
from tests.contracts.speculative import *  # noqa: F403
from tests.contracts.turns import *  # noqa: F403
from tests.contracts.turns_cache import *  # noqa: F403
