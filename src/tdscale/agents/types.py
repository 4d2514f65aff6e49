"""Names for what JAX calls Array."""

import jax

Array = jax.Array
Key = jax.Array
