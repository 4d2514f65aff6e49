"""Which of a study's sizes a run is of."""

from collections.abc import Mapping
from typing import Any

from tdscale.runs.where import matching
from tdscale.study import RunSpec, Study
from tdscale.study.sizes import size_settings


class Sizes:
    """The sizes of a study, by name; of a study without [sizes] one, whose name is "".

    Attributes:
        studies: the study of each size.
    """

    def __init__(self, study: Study) -> None:
        """Raises UserError where the settings of a user's algorithm are not known (`Study.full_settings`)."""
        self.studies = study.by_size()
        self.keys = tuple(dict.fromkeys(key for size in study.sizes.values() for key in size_settings(size)))
        self._names: dict[tuple[str | None, ...], str] = {}
        for name, size in study.sizes.items():
            # of runs that are trained a default may go unsaid
            settings = size if study.sweep is None else self.studies[name].spec_settings[0]
            self._names[self._values(settings)] = name

    def of(self, spec: RunSpec) -> str | None:
        """The name of a run's size, by the settings that make it, however they are written: 256 and "256" are one; None for no size."""
        return self._names.get(self._values(spec.settings)) if self.keys else ""

    def besides(self, spec: RunSpec) -> dict[str, Any]:
        """A run's settings without those that make its size."""
        names = tuple(f"{joint}{key}" for key in self.keys for joint in (".", "/"))
        return {key: value for key, value in spec.settings.items() if key not in self.keys and not key.endswith(names)}

    def described(self) -> str:
        """The settings of the sizes, in words, for example "critic_width = 128 or 256"."""
        columns = list(zip(*self._names, strict=True))
        return "; ".join(
            f"{key} = {' or '.join('absent' if value is None else value for value in dict.fromkeys(values))}"
            for key, values in zip(self.keys, columns, strict=True)
        )

    def _values(self, settings: Mapping[str, Any]) -> tuple[str | None, ...]:
        return tuple(matching(key, settings) for key in self.keys)
