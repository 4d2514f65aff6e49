"""What an update costs, and what the updates that were made cost (docs/method.md, accounting "counted").

Without JAX: the light install counts, too.
"""

from typing import NamedTuple


class Costs(NamedTuple):
    """Sizes of the trained networks and the FLOPs of an update.

    Attributes:
        actor_parameters: of everything that acts.
        critic_parameters: of the trained pair, targets not counted.
        critic_update_flops, actor_update_flops: per transition of the minibatch, with 2 FLOPs per parameter forward and 4
            backward (docs/method.md, accounting "counted").
    """

    actor_parameters: int
    critic_parameters: int
    critic_update_flops: int
    actor_update_flops: int


def counted_flops(costs: Costs, critic_updates: int, actor_updates: int, batch_size: int) -> float:
    """FLOPs of the updates that were made, each of `batch_size` transitions."""
    return float(batch_size * (critic_updates * costs.critic_update_flops + actor_updates * costs.actor_update_flops))
