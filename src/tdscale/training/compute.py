"""Counted compute (METHOD.md section 3, accounting "counted")."""


def counted_flops(critic_updates: int, actor_updates: int, batch_size: int, actor_parameters: int, critic_parameters: int) -> float:
    """FLOPs of SAC's updates: critic_updates·B·(2·Na + 8·Nc) + actor_updates·B·6·(Na + Nc).

    With 2 FLOPs per parameter and sample forward and 4 backward. A critic update: the actor and the target critics forward at the next
    observation, the critics forward and backward. An actor update: actor and critics forward and backward. With
    Na = Nc = N these are METHOD.md's 10·N·B and 12·N·B.

    Args:
        critic_updates, actor_updates: how many were made.
        batch_size: B, transitions per update.
        actor_parameters: Na.
        critic_parameters: Nc, of the trained pair, targets not counted.
    """
    critic_update = 2 * actor_parameters + 8 * critic_parameters
    actor_update = 6 * (actor_parameters + critic_parameters)
    return float(batch_size * (critic_updates * critic_update + actor_updates * actor_update))
