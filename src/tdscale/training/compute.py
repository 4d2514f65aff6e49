"""Counted compute (METHOD.md section 3, accounting "counted")."""

from tdscale.agents.costs import Costs


def counted_flops(costs: Costs, critic_updates: int, actor_updates: int, batch_size: int) -> float:
    """FLOPs of the updates that were made, each of `batch_size` transitions."""
    return float(batch_size * (critic_updates * costs.critic_update_flops + actor_updates * costs.actor_update_flops))
