"""The laws that the paper and its authors published, ready to predict and to plan with."""

from tdscale.paper.laws import PublishedDataLaw, PublishedLaws
from tdscale.paper.numbers import PUBLISHED
from tdscale.paper.predict import STANDARD_UTD, Prediction, predict
from tdscale.paper.use import NO_INTERVAL, PREFIX, laws_of_task, power_law, published_laws, scaling_laws

__all__ = [
    "NO_INTERVAL",
    "PREFIX",
    "PUBLISHED",
    "STANDARD_UTD",
    "Prediction",
    "PublishedDataLaw",
    "PublishedLaws",
    "laws_of_task",
    "power_law",
    "predict",
    "published_laws",
    "scaling_laws",
]
