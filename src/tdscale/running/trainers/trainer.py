"""`CustomTrainer`: the user's own trainer of a study, as its workers are told."""

from dataclasses import dataclass
from typing import Any

from tdscale.study import asks_for


@dataclass(frozen=True, kw_only=True)
class CustomTrainer:
    """A command or a function that trains runs in the place of tdscale's agents.

    Attributes:
        command, function: of the study; one of them.
        folder: where processes run: that of the study's file.
        retries, stop_early: of the study's [trainer].
        model_size, actor_size: as the study gives them.
        versions: of the trainer's files.
    """

    command: tuple[str, ...] | None
    function: str | None
    folder: str
    retries: int
    stop_early: bool
    model_size: float | None
    actor_size: int | None
    versions: dict[str, str]

    @property
    def goes_on(self) -> bool:
        """Whether it is told where to keep a state, so that a run that was interrupted may go on."""
        return self.command is None or asks_for(self.command, "checkpoint")

    @classmethod
    def from_message(cls, message: dict[str, Any]) -> "CustomTrainer":
        """From the JSON of `dataclasses.asdict`."""
        command = message["command"]
        return cls(**{**message, "command": None if command is None else tuple(command)})
