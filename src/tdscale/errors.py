"""The one exception a user's mistake raises, so that the command line can answer with a sentence and exit code 2."""


class UserError(Exception):
    """A mistake in a study file, a log or an option: what is wrong, where, and what would be right, in one sentence."""
