"""Why a library raised an error: the reason in a line, the layer and the method of a model that it comes from."""

import contextlib
import re
from collections.abc import Collection, Iterator

from tfseq.errors import ExportError

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


def called_method(error: BaseException, kind: type, methods: Collection[str]) -> str | None:
    """The first method, of these, of an object of that kind in which the error was raised: "Translator.step"."""
    trace = error.__traceback__
    while trace is not None:
        frame = trace.tb_frame
        called = frame.f_locals.get("self")
        if frame.f_code.co_name in methods and isinstance(called, kind):
            return f"{type(called).__name__}.{frame.f_code.co_name}"
        trace = trace.tb_next
    return None


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
