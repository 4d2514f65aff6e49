"""What ends in one sentence on the command line, and what others' errors say in one."""

OUT_OF_MEMORY = "RESOURCE_EXHAUSTED"  # JAX's word for a device's


class UserError(Exception):
    """A mistake in a study file, a log or an option: what is wrong, where, and what would be right, in one sentence; exit code 2."""


class RunFailure(Exception):
    """Something that stopped a study, not through a mistake of the user's: one sentence, exit code 1."""


def first_line(error: BaseException) -> str:
    """Of what an error says, 200 characters at most."""
    return (str(error).splitlines() or [""])[0][:200]
