"""What belongs to the paper alone: its authors' own method, and the laws that they published, ready to predict and to plan with.

`procedure.py` has the method, `published.py` and `published_sizes.py` (laws with model size) the numbers, `predictions.py` what they say.
"""

from collections.abc import Mapping

from tdscale.analysis.method import DEFAULT, Method, MethodWithOffsets
from tdscale.paper.predictions import (
    NO_INTERVAL,
    PREFIX,
    STANDARD_UTD,
    laws_of_task,
    partly_published,
    power_law,
    predict,
    published_laws,
    published_name,
    refuse_prediction,
    scaling_laws,
)
from tdscale.paper.prior import SETS, FirstSettings, first_settings, new_task
from tdscale.paper.procedure import PAPER, PaperWithOffsets, differences
from tdscale.paper.published import PARTLY_PUBLISHED, PUBLISHED, PartlyPublished, PublishedDataLaw, PublishedLaws
from tdscale.paper.published_sizes import PUBLISHED_SIZES, PublishedSizeLaw, SizePrediction, predict_size, size_laws_of_task

# by the names that a user gives and that laws.json holds
METHODS: Mapping[str, Method] = {method.name: method for method in (DEFAULT, PAPER, MethodWithOffsets(), PaperWithOffsets())}

__all__ = [
    "METHODS",
    "NO_INTERVAL",
    "PAPER",
    "PARTLY_PUBLISHED",
    "PREFIX",
    "PUBLISHED",
    "PUBLISHED_SIZES",
    "SETS",
    "STANDARD_UTD",
    "FirstSettings",
    "PartlyPublished",
    "PublishedDataLaw",
    "PublishedLaws",
    "PublishedSizeLaw",
    "SizePrediction",
    "differences",
    "first_settings",
    "laws_of_task",
    "new_task",
    "partly_published",
    "power_law",
    "predict",
    "predict_size",
    "published_laws",
    "published_name",
    "refuse_prediction",
    "scaling_laws",
    "size_laws_of_task",
]
