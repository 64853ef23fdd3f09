"""Which model answers a request, and with which settings."""

from collections.abc import Mapping
from typing import Any

from ..memory.parameters import MODELS, RouterPolicy
from ..memory.policy import BUNDLED, PolicyEntry, PolicyStore
from ..types import RoutingDecision

NUMBER = 32  # bytes of a float and of its place in a list


class PolicyRouter:
    """Routes every request as the newest ``router`` policy in memory says: the bundled default until one is learned."""

    def __init__(self, policies: PolicyStore):
        self.policies = policies

    @property
    def nbytes(self) -> int:
        """Of the weights that the policy in force holds, as Python has numbers that come from JSON; 0 without any."""
        parameters = self.policies.latest("router").parameters
        return NUMBER * sum(_numbers(parameters.get(name)) for name in ("cell_weights", "head_biases"))

    def route(self) -> RoutingDecision:
        """As the policy in force says; what it leaves out is as the stated default has it. ConfigError for rows that make no policy."""
        return _decided(self.policies.latest("router"))

    def stated(self) -> RoutingDecision:
        """As the bundled default says, for a record of a request that could not be routed."""
        return _decided(next(entry for entry in BUNDLED if entry.policy_type == "router"))


def _decided(policy: PolicyEntry) -> RoutingDecision:
    typed = policy.typed()
    assert isinstance(typed, RouterPolicy)
    choice = typed.fallback
    return RoutingDecision(
        model=choice.model,
        context_size=choice.context_size,
        temperature=choice.temperature,
        top_p=choice.top_p,
        confidence=policy.confidence,
        model_probs=tuple(1.0 if name == choice.model else 0.0 for name in MODELS),
        policy=policy.id,
    )


def _numbers(value: Any) -> int:
    if isinstance(value, Mapping):
        return sum(map(_numbers, value.values()))
    return sum(map(_numbers, value)) if isinstance(value, list | tuple) else isinstance(value, int | float)
