"""Which model answers a request, and with which settings."""

from ..memory.parameters import MODELS
from ..memory.policy import PolicyStore
from ..types import RoutingDecision


class PolicyRouter:
    """Routes every request as the newest ``router`` policy in memory says: the bundled default until one is learned."""

    def __init__(self, policies: PolicyStore):
        self.policies = policies

    def route(self) -> RoutingDecision:
        policy = self.policies.latest("router")
        choice = policy.parameters["fallback"]
        return RoutingDecision(
            model=choice["model"],
            context_size=choice["context_size"],
            temperature=choice["temperature"],
            top_p=choice["top_p"],
            confidence=policy.confidence,
            model_probs=tuple(1.0 if name == choice["model"] else 0.0 for name in MODELS),
            policy=policy.id,
        )
