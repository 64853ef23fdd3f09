import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from tests.generators.cache_churn import OPERATIONS, Churn, random_steps


@pytest.mark.parametrize("fit", ["best", "first"])
def test_no_page_is_lost_over_thousands_of_operations(kernels, fit):
    churn = Churn(kernels, fit=fit)
    random_steps(churn, 1000, seed=1)
    assert min(churn.count["PersistError"], churn.pool.counts["evicted"], churn.pool.counts["shrunk"]) > 0, churn.count
    churn.end()


def test_no_order_of_operations_loses_a_page(kernels):
    class Machine(RuleBasedStateMachine):
        def __init__(self):
            super().__init__()
            self.churn = Churn(kernels, budget=20_000)

        @rule(operation=st.sampled_from(OPERATIONS), a=st.integers(0, 1000), b=st.integers(0, 1000))
        def step(self, operation, a, b):
            self.churn.step(operation, a, b)

        @invariant()
        def all_is_accounted_for(self):
            self.churn.check()

        def teardown(self):
            self.churn.end()

    case = Machine.TestCase
    case.settings = settings(max_examples=20, stateful_step_count=40, deadline=None)
    case().runTest()
