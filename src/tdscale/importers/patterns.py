"""What logs call things: the usual names of σ, B, η and the rest, and patterns of names."""

import re

from tdscale.errors import UserError

# Names that programs give to a quantity, the most specific first: the critic's own goes before a general one.
LEVELS: dict[str, tuple[tuple[str, ...], ...]] = {
    "utd": (
        (
            *("utd", "utd_ratio", "updates_to_data", "updates_to_data_ratio", "update_to_data", "update_to_data_ratio", "updates_per_step"),
            *("updates_per_env_step", "critic_updates_per_step", "gradient_updates_per_step"),
        ),
    ),
    "batch_size": (("critic_batch_size",), ("train_batch_size_per_learner",), ("batch_size", "train_batch_size")),
    "learning_rate": (
        (
            *("critic_learning_rate", "critic_lr", "qf_learning_rate", "qf_lr", "q_lr", "q_learning_rate", "lr_critic"),
            *("learning_rate_critic", "lr_q", "lr_qf", "critic_optimizer_lr"),
        ),
        ("learning_rate", "lr"),
    ),
    "task": (("task", "env_id", "env_name", "env", "task_name", "environment", "environment_name", "game"),),
    "seed": (("seed", "random_seed", "rng_seed"),),
    "model_size": (("model_size", "critic_parameters"),),
    "algorithm": (("algorithm", "algo", "alg", "algorithm_name", "algo_name", "agent", "agent_name", "method"),),
}
USUAL_NAMES = {name: tuple(key for level in levels for key in level) for name, levels in LEVELS.items()}

# series of returns in W&B's and TensorBoard's logs
SCALARS = (
    *("charts/episodic_return", "episode/return", "episodic_return", "episode_return", "return", "eval/mean_reward"),
    "rollout/ep_rew_mean",  # a moving mean
)

_NUMBER = r"[-+]?(?:\d+(?:\.\d+)?|\.\d+)(?:[eE][-+]?\d+)?"
_NUMERIC = ("utd", "batch_size", "learning_rate", "seed", "model_size")
_PARAMETERS = rf"{_NUMBER}(?:[kKmMbB](?![A-Za-z]))?"  # "2.8M"
WITHIN = "\x1f"  # a "/" within a column's name


def from_name(pattern: str | None, name: str, column: str | None = None) -> dict[str, str] | None:
    """What a run's name says by `Columns.names`: {} without a pattern, None where it does not fit.

    Args:
        pattern: as `Columns.names` has it.
        name: folders and file, divided by "/"; as many of its last parts are used as the pattern has.
        column: of a wide table; "*" matches any part of it, also over a "/".
    """
    if pattern is None:
        return {}
    parts = name.split("/") + ([] if column is None else [column.replace("/", WITHIN)])
    # a pattern's "/" may stand in the column's name: then it has fewer folders than it seems
    for count in range(pattern.count("/") + 1, 0 if column is not None else pattern.count("/"), -1):
        found = fitted(pattern, "/".join(parts[-count:]), "--names")
        if found is not None:
            return found
    return None


def fitted(pattern: str, text: str, what: str) -> dict[str, str] | None:
    """The `{key}` of a pattern, found in a text; None where it does not fit. Raises UserError if it is not a pattern."""
    keys: set[str] = set()
    parts = [part for part in re.split(r"(\{[^{}]*\}|\*)", pattern) if part]
    literal = [part != "*" and not _is_key(part) for part in parts]
    for numeric in (True, False):
        expression = ""
        keys.clear()
        for index, part in enumerate(parts):
            key = part[1:-1]
            if part == "*":
                expression += "[^/]*"
            elif _is_key(part):
                if not re.fullmatch(r"[A-Za-z_]\w{0,40}", key) or key in keys:
                    raise UserError(
                        f"{what} {pattern}: {part} can't be a key; each must be a name of its own, e.g. utd{{utd}}_seed{{seed}}"
                    )
                keys.add(key)
                if numeric and _quantity_of(key) in _NUMERIC:
                    # a number is read whole, unless the pattern's own text divides it: of utd16_s1 utd{utd}* takes 16
                    before = "" if index and literal[index - 1] else r"(?<![\d.])(?<!\dp)"
                    after = "" if index + 1 < len(parts) and literal[index + 1] else r"(?![.p]?\d)"
                    expression += f"{before}(?P<{key}>{_written(key)}){after}"
                else:
                    expression += f"(?P<{key}>[^/]+?)"
            else:
                expression += re.escape(part).replace("/", f"[/{WITHIN}]")
        match = re.fullmatch(expression, text[-1000:])
        if match is not None:
            found = {key: value.replace(WITHIN, "/") for key, value in match.groupdict().items()}
            cut = [key for key, value in found.items() if _quantity_of(key) in _NUMERIC and re.fullmatch(_written(key), value)]
            return None if cut and not numeric else found
    return None


def _written(key: str) -> str:
    return _PARAMETERS if _quantity_of(key) == "model_size" else _NUMBER


def _is_key(part: str) -> bool:
    return part.startswith("{") and part.endswith("}")


def _quantity_of(key: str) -> str | None:
    return next((name for name, usual in USUAL_NAMES.items() if key in usual), None)
