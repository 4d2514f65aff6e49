"""A saved model of Stable-Baselines3: its hyperparameters, and its networks if its JSON has them. Nothing is unpickled."""

import json
import zipfile
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

_MAX_CONFIG = 1 << 24
_MAX_WIDTH, _MAX_LAYERS = 10**6, 100
# of policies of vectors whose critics are plain twins, by their module: hidden layers where none are given
_HIDDEN = {"stable_baselines3.sac.policies": (256, 256), "stable_baselines3.td3.policies": (400, 300)}


@dataclass(frozen=True)
class Networks:
    """A model's networks.

    Attributes:
        settings: net_arch, or net_arch.pi and net_arch.qf, lists of hidden layers; n_critics where the model says it.
        parameters: N of the trained critics; None where it can't be counted.
    """

    settings: Mapping[str, Any]
    parameters: int | None


def read_model(path: Path) -> dict[str, Any]:
    """`data` of a model: JSON, in which objects stand pickled as text, some with what they hold beside it. {} where there is none."""
    try:
        with zipfile.ZipFile(path) as model:
            entry = model.getinfo("data")
            if entry.file_size > _MAX_CONFIG:
                return {}
            values = json.loads(model.read(entry))
    except (OSError, KeyError, ValueError, RecursionError, RuntimeError, NotImplementedError, EOFError, zipfile.BadZipFile, zlib.error):
        return {}  # no model, or an incomplete one: the import asks for the hyperparameters
    return values if isinstance(values, dict) else {}


def hyperparameters(model: Mapping[str, Any]) -> dict[str, Any]:
    """The plain values of a model's `data`."""
    return {key: value for key, value in model.items() if value is None or isinstance(value, str | int | float | bool)}


def networks(model: Mapping[str, Any]) -> Networks | None:
    """The networks of a model's `data`, by the policy's arguments; None where it does not say them.

    N = n·Σ_l (w_(l−1) + 1)·w_l over the n critics, from w_0 = observations + actions, through the hidden layers, to 1 value.
    """
    policy, given = model.get("policy_class"), model.get("policy_kwargs")
    module = policy.get("__module__") if isinstance(policy, dict) else None
    given = given if isinstance(given, dict) else {}
    usual = _HIDDEN.get(module) if isinstance(module, str) else None
    architecture = given.get("net_arch", None if usual is None else list(usual))
    settings: dict[str, Any] = {}
    if isinstance(architecture, dict) and set(architecture) == {"pi", "qf"}:
        settings = {f"net_arch.{name}": layers for name, layers in architecture.items()}
        critic = architecture["qf"]
    else:
        settings, critic = {"net_arch": architecture}, architecture
    if not all(_is_layers(layers) for layers in settings.values()):
        return None
    critics = given.get("n_critics", 2)
    twins = isinstance(critics, int) and not isinstance(critics, bool) and 1 <= critics <= 1000
    if "n_critics" in given and twins:
        settings["n_critics"] = critics
    counted = usual is not None and twins and "features_extractor_class" not in given
    observations, actions = (_length(model.get(name)) for name in ("observation_space", "action_space"))
    if not counted or observations is None or actions is None:
        return Networks(settings, None)
    widths = [observations + actions, *critic, 1]
    return Networks(settings, critics * sum((before + 1) * after for before, after in pairwise(widths)))


def differ(found: Iterable[Networks | None]) -> bool:
    """Whether networks are of several kinds."""
    return len({json.dumps(dict(one.settings), sort_keys=True) for one in found if one is not None}) > 1


def _is_layers(value: Any) -> bool:
    if not isinstance(value, Sequence) or isinstance(value, str) or len(value) > _MAX_LAYERS:
        return False
    return all(isinstance(width, int) and not isinstance(width, bool) and 1 <= width <= _MAX_WIDTH for width in value)


def _length(space: Any) -> int | None:
    """Numbers of a vector's space; None for another one."""
    if not isinstance(space, dict) or "Box" not in str(space.get(":type:")):
        return None
    shape = space.get("_shape")
    return int(shape[0]) if isinstance(shape, list) and _is_layers(shape) and len(shape) == 1 else None
