"""What ends in one sentence on the command line."""


class UserError(Exception):
    """A mistake in a study file, a log or an option: what is wrong, where, and what would be right, in one sentence; exit code 2."""


class RunFailure(Exception):
    """Something that stopped a study, not through a mistake of the user's: one sentence, exit code 1."""
