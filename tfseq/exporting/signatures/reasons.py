"""`first_line`: the reason of an error of Keras', TensorFlow's or ONNX Runtime's, in a line."""

import contextlib
import re
from collections.abc import Iterator

from tfseq.errors import ExportError

_KERAS = re.compile(r"Exception encountered when calling (?:layer ')?(\w+)")
_DECORATION = re.compile(r"\x1b\[\d+m|{{.*?}} ?|\[Op:.*?\]( name: ?)?")


def first_line(error: BaseException | None) -> str:
    """The first line that says what went wrong; not where in Keras it was raised, which is Keras' first line."""
    lines = [line.strip() for line in _DECORATION.sub("", str(error or "")).splitlines()]
    said = [line for line in lines if line and not _KERAS.match(line)]
    if said:
        return said[0]
    return type(error).__name__ if error is not None else ""


def called_layer(error: BaseException) -> str | None:
    """The class of the layer in whose call Keras says the error was raised."""
    found = _KERAS.match(str(error).strip())
    return found.group(1) if found else None


@contextlib.contextmanager
def only_export_errors() -> Iterator[None]:
    """Within, whatever goes wrong is an `ExportError`, which says in which layer."""
    try:
        yield
    except ExportError:
        raise
    except Exception as error:
        layer = called_layer(error)
        subject = f"{layer} fails when it is called, so the model" if layer else "The model"
        raise ExportError(f"{subject} can't be exported: {first_line(error)}") from error
