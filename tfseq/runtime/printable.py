"""`printable` and `shown`: what a file says, on one line, without what could move a cursor or forge another line."""

import re
from typing import Any

# Control characters, line and paragraph separators, those that turn the direction of text, and halves of characters.
_UNSEEN = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")


def printable(text: str, lines: bool = False) -> str:
    r"""A text with its control characters escaped, as in a Python string.

    Args:
        lines: keep line ends and tabs, as of text that a model has written.

    Example:
        >>> printable("a\x1b[2Jb")
        'a\\x1b[2Jb'
    """
    return _UNSEEN.sub(lambda found: found[0] if lines and found[0] in "\n\t" else _escaped(found[0]), text)


def _escaped(character: str) -> str:
    return ascii(character)[1:-1]


def shown(value: Any, most: int = 120) -> str:
    """A value as Python writes it, printable and cut short, for a message; whatever it is, this raises nothing."""
    try:
        text = repr(value)
    except Exception:  # such as of an integer with too many digits
        text = f"a value of the type {type(value).__name__}"
    return printable(text if len(text) <= most else text[: most - 3] + "...")
