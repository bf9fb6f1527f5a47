"""`only_export_errors`: whatever goes wrong in an export is an `ExportError` that says where: the layer, the method."""

import contextlib
from collections.abc import Iterator

from tfseq.errors import ExportError
from tfseq.models.generator import PROTOCOL, Generator
from tfseq.reasons import called_layer, first_line


def called_method(error: BaseException) -> str | None:
    """The first of a Generator's methods in which the error was raised: "Translator.step"."""
    trace = error.__traceback__
    while trace is not None:
        frame = trace.tb_frame
        called = frame.f_locals.get("self")
        if frame.f_code.co_name in PROTOCOL and isinstance(called, Generator):
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
        layer, method = called_layer(error), called_method(error)
        failing = f"{method} fails" if method else f"{layer} fails when it is called"
        subject = f"{failing}, so the model" if method or layer else "The model"
        raise ExportError(f"{subject} can't be exported: {first_line(error)}") from error
