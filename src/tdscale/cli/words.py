"""Names and words that several commands share."""

PROGRESS_FILE = "progress.json"


def duration(seconds: float) -> str:
    """As people say it: 40 s, 12 min, 3 h 20 min."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


def counted(number: int, thing: str) -> str:
    """1 cell, 2 cells."""
    return f"{number} {thing}{'s' * (number != 1)}"
