from collections.abc import Sequence
from dataclasses import dataclass

import pytest
import synthetic

from tdscale.analysis.fit import Measured
from tdscale.analysis.scaling_laws import ScalingLaws
from tdscale.planning import Plan
from tdscale.validation import Validation


@dataclass(frozen=True)
class Studied:
    measured: Measured
    laws: ScalingLaws
    plans: Sequence[Plan]
    validation: Validation


@pytest.fixture(scope="session")
def studied() -> Studied:
    """A synthetic study with sweep, stage 2 and every kind of plan."""
    cells = synthetic.sweep_cells() + synthetic.scaling_cells()
    laws, measured, validation = synthetic.results(cells, synthetic.make_options(cells))
    return Studied(measured, laws, synthetic.make_plans(laws), validation)
