"""The stages after the first, as far as they can be told before it has run."""

from tdscale.study.spec import RunSpec, Stage
from tdscale.study.study import Study


def expected_stages(study: Study) -> dict[Stage, list[RunSpec]]:
    """Stage 2 and the baseline where the study asks for them, with the middle of the sweep's B and η: those that run come from stage 1."""
    if study.scaling is None or study.sweep is None:
        return {}
    batch_sizes, learning_rates = sorted(study.sweep.batch_size), sorted(study.sweep.learning_rate)
    middle = (batch_sizes[len(batch_sizes) // 2], learning_rates[len(learning_rates) // 2])
    expected: dict[Stage, list[RunSpec]] = {
        "scaling": study.scaling_specs({(task, utd): middle for task in study.tasks for utd in study.scaling.utd})
    }
    if constant := study.baseline_specs(dict.fromkeys(study.tasks, middle)):
        expected["baseline"] = constant
    return expected
