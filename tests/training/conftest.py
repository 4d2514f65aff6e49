"""JAX reads these when it is first imported."""

import os

os.environ.setdefault("JAX_PLATFORMS", "cpu")
