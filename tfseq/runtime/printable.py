"""`printable`: what a file says, on one line and without what could move a terminal's cursor or forge another line."""

import re

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
