"""What a file of settings beside a run's log says, where its form is JSON."""

import json
from pathlib import Path
from typing import Any

from tdscale.importers.raw import flat

CONFIGS = ("config.json", "hyperparameters.json", "params.json", "args.json", "variant.json")
_MAX_CONFIG = 1 << 24


def settings_beside(path: Path, *, alone: bool) -> dict[str, Any]:
    """Those in a log's folder; the seed only where it is the folder's one log, for it can't be that of several."""
    found: dict[str, Any] = {}
    for name in CONFIGS:
        if name != path.name:
            found |= read_settings(path.parent / name)
    return found if alone else {key: value for key, value in found.items() if key.rpartition(".")[2] != "seed"}


def read_settings(path: Path) -> dict[str, Any]:
    """A JSON object, nested keys joined by dots; nothing where there is none, or it can't be read."""
    try:
        if path.stat().st_size > _MAX_CONFIG:
            return {}
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return flat(values) if isinstance(values, dict) else {}
