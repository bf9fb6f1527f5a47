"""Why a library raised an error: the reason in a line, and the layer that it comes from."""

import re

_KERAS = re.compile(r"Exception encountered when calling (?:layer ')?(\w+)")
_DECORATION = re.compile(r"\x1b\[[\d;]*m|{{.*?}} ?|\[Op:.*?\]( name: ?)?")


def first_line(error: BaseException | None) -> str:
    """The first line that says what went wrong; not where in Keras it was raised, which is Keras' first line."""
    try:
        text = "" if error is None else str(error)
    except Exception:
        text = ""
    lines = [line.strip() for line in _DECORATION.sub("", text).splitlines()]
    said = [line for line in lines if line and not _KERAS.match(line)]
    if said:
        return said[0]
    return type(error).__name__ if error is not None else ""


def called_layer(error: BaseException) -> str | None:
    """The class of the layer in whose call Keras says the error was raised."""
    found = _KERAS.match(str(error).strip())
    return found.group(1) if found else None
