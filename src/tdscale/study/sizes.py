"""The table [sizes]: networks of several sizes within one study, an ordered axis N beside σ, B and η (METHOD.md, section 7)."""

from collections.abc import Collection, Mapping
from typing import Any

from tdscale.study.spec import RECORDING

MODEL_SIZE = "model_size"
# settings of tdscale's agents that decide how many parameters the critics have
CRITIC_SETTINGS = ("hidden_sizes", "critic_width", "critic_blocks", "quantiles", "atoms")
_USUAL_PRODUCTS = 256 * 256  # of SAC's default networks: two layers of 256
_USUAL_PARAMETERS = 1.4e5  # of a pair of such critics


def parse_sizes(value: Any) -> Any:
    """[sizes] as it is kept: by name, the settings of each size.

    `critic_width = [128, 256]`, one setting with a list of values, is short for a size for each value, named by it; a name with a table is
    a size unchanged. What is neither is left as it is, and the type check reports it.

    Raises:
        ValueError: if both are given, a list is empty, or it has a value twice.
    """
    if not isinstance(value, Mapping):
        return value
    lists = [name for name, given in value.items() if isinstance(given, list | tuple)]
    if not lists:
        return value
    if len(value) > 1:
        other = next(name for name in value if name != lists[0])
        raise ValueError(
            f"{lists[0]}: a list must be alone, as one size for each of its values; with {other!r} write each size as a table, e.g. "
            f"small = {{ {lists[0]} = … }}"
        )
    key, values = next(iter(value.items()))
    if not values:
        raise ValueError(f"{key}: is empty; it must hold the values of at least two sizes")
    names = [size_name(one) for one in values]
    for index, name in enumerate(names):
        if name in names[:index]:
            raise ValueError(f"{key}: {name} is there twice; give each size once")
    return {name: {key: one} for name, one in zip(names, values, strict=True)}


def size_name(value: Any) -> str:
    """A size named by its setting's value: 256 is "256", [64, 64] is "64x64"."""
    if isinstance(value, list | tuple):
        return "x".join(map(size_name, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def size_settings(size: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that make a size, without its N."""
    return {key: value for key, value in size.items() if key != MODEL_SIZE}


def update_weight(settings: Mapping[str, Any], model_size: float | None) -> float:
    """Roughly what an update of a size takes, per transition, in units of one of two layers of 256.

    By N where it is given, else by the widths that the settings name; 1 where neither says anything.
    """
    if model_size is not None:
        return model_size / _USUAL_PARAMETERS
    widths = settings.get("hidden_sizes")
    if isinstance(widths, list | tuple) and widths and all(isinstance(width, int) for width in widths):
        # a single layer has products with its inputs and outputs alone, some dozens
        return float(sum(a * b for a, b in zip((32, *widths), (*widths, 1), strict=True))) / _USUAL_PRODUCTS
    width, blocks = settings.get("critic_width"), settings.get("critic_blocks", 2)
    if isinstance(width, int) and isinstance(blocks, int):
        return (2 * blocks * width**2 + 100 * width) / _USUAL_PRODUCTS
    return 1.0


def check_sizes(sizes: Mapping[str, Mapping[str, Any]]) -> None:
    """Raise ValueError, one sentence, if [sizes] is wrong: no setting, unequal ones, two alike, N that is not a number."""
    keys: set[str] | None = None
    seen: dict[str, str] = {}
    for name, size in sizes.items():
        own = set(size_settings(size))
        if not own:
            raise ValueError(f'{name}: has no setting; it must be a table of settings, e.g. {name} = {{ size = "{name}" }}')
        if keys is not None and own != keys:
            raise ValueError(f"{name}: sets {', '.join(sorted(own))}, another size {', '.join(sorted(keys))}; all sizes must set the same")
        keys = own
        model_size = size.get(MODEL_SIZE)
        if model_size is not None and (isinstance(model_size, bool) or not isinstance(model_size, int | float) or not model_size > 0):
            raise ValueError(f"{name}.{MODEL_SIZE}: {model_size!r} is not a number of parameters; it must be > 0, e.g. 2.83e6")
        text = repr(sorted((key, size[key]) for key in own))
        if text in seen:
            raise ValueError(f"{name}: has the settings of {seen[text]!r}; give each size once")
        seen[text] = name


def check_beside(sizes: Mapping[str, Mapping[str, Any]], settings: Collection[str], model_size: float | None, *, counted: bool) -> None:
    """Raise ValueError, one sentence, where [sizes] and the rest of a study don't go together.

    Args:
        sizes: as the study has them.
        settings: names in [settings].
        model_size: the study's own.
        counted: whether tdscale builds the networks, and counts them.
    """
    for name, size in sizes.items():
        both = sorted(set(size) & set(settings))
        if both:
            raise ValueError(f"sizes.{name}.{both[0]}: is in [settings] too; a setting of the sizes must be in [sizes] only")
    if sizes and model_size is not None:
        better = "leave it out: N is counted" if counted else "give it in each size"
        raise ValueError(f"model_size: can't be combined with [sizes], whose networks have an N each; {better}")
    for name, size in sizes.items() if counted else ():
        if MODEL_SIZE in size:
            raise ValueError(f"sizes.{name}.{MODEL_SIZE}: tdscale counts N of its own networks; leave it out")
        recorded = sorted(set(size) & set(RECORDING))
        if recorded:
            raise ValueError(f"sizes.{name}.{recorded[0]}: only controls recording, and can't make a size; it belongs into [settings]")


def check_networks(sizes: Mapping[str, Mapping[str, Any]], settings: Collection[str]) -> None:
    """Raise ValueError where nothing in a size makes critics larger. `settings`: names of all that the algorithm has."""
    known = [key for key in CRITIC_SETTINGS if key in settings]
    for name, size in sizes.items():
        if not set(size) & set(known):
            least = "it must set" if len(known) == 1 else "it must set at least one of"
            raise ValueError(f"sizes.{name}: {', '.join(sorted(size))} does not change the size of the critics; {least} {', '.join(known)}")
