"""N of a study's sizes before any of its runs: given in [sizes] for a trainer of the user's, else counted from tdscale's networks."""

import numpy as np

from tdscale.running.custom_code import critic_parameters
from tdscale.running.folder import StudyFiles


def model_sizes(files: StudyFiles) -> dict[str, float]:
    """N of each size by its name, rising: the geometric mean over the tasks, as the laws have it (`analysis.sizes`); {} without [sizes].

    Raises:
        UserError: if the networks can't be made.
    """
    study = files.study
    if study.has_custom_trainer:
        given = {name: one.model_size for name, one in study.by_size().items()}
        found = {name: size for name, size in given.items() if name and size is not None}
    elif study.sizes:
        counted = critic_parameters(
            study.algorithm,
            {name: one.full_settings for name, one in study.by_size().items()},
            {name: task.suite for name, task in study.tasks.items()},
            folder=files.directory,
        )
        found = {name: float(np.exp(np.mean(np.log(counts)))) for name, counts in counted.items()}
    else:
        return {}
    return dict(sorted(found.items(), key=lambda one: one[1]))
