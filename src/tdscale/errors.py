"""What ends in one sentence on the command line, and what others' errors say in one."""

_LONGEST = 3000  # characters of a sentence

OUT_OF_MEMORY = "RESOURCE_EXHAUSTED"  # JAX's word for a device's


class UserError(Exception):
    """A mistake in a study file, a log or an option: what is wrong, where, and what would be right, in one sentence; exit code 2.

    What it quotes of a file may be any bytes: it is shown on one line, signs that are not printable as their escapes.
    """

    def __init__(self, sentence: str) -> None:
        super().__init__(printable(sentence))


class RunFailure(Exception):
    """Something that stopped a study, not through a mistake of the user's: one sentence, exit code 1."""


def first_line(error: BaseException) -> str:
    """The first line of an error's message, 200 characters at most."""
    return (str(error).splitlines() or [""])[0][:200]


def printable(text: str) -> str:
    """A text on one line, signs that are not printable as their escapes; of a very long one beginning and end."""
    if len(text) > _LONGEST:
        text = f"{text[: 2 * _LONGEST // 3]} … {text[-_LONGEST // 3 :]}"
    if text.isprintable():
        return text
    text = " ".join(text.splitlines()) if "\n" in text else text
    return "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in text)
