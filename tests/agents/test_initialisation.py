"""Networks as they begin."""

import re
from typing import Any

import jax
import numpy as np
import pytest

from tdscale.agents import bro, sac


@pytest.mark.parametrize(
    ("agent", "config"),
    [(sac, sac.SACConfig(observation_size=17, action_size=6)), (bro, bro.BROConfig(observation_size=67, action_size=21))],
)
def test_weights_are_made_orthogonal_one_matrix_at_a_time(agent: Any, config: Any) -> None:
    """Batched, as `jax.vmap` would have them, several decompositions of wide matrices hang on a CPU (jaxlib 0.10.2)."""
    program = str(jax.make_jaxpr(lambda seed: agent.init(config, seed))(np.uint32(0)))
    decomposed = re.findall(r"f32\[([\d,]+)\] \w+:f32\[[\d,]+\] = qr\[", program)
    assert decomposed
    assert all(shape.count(",") == 1 for shape in decomposed)
