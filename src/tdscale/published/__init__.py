"""The laws that the paper and its authors published, ready to predict and to plan with."""

from tdscale.published.laws import PublishedDataLaw, PublishedLaws
from tdscale.published.numbers import PUBLISHED
from tdscale.published.predict import STANDARD_UTD, Prediction, predict
from tdscale.published.use import NO_INTERVAL, PREFIX, laws_of_task, power_law, published_laws, scaling_laws

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
