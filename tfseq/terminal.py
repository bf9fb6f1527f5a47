"""How a command speaks to the person at the terminal: one line for an error or a warning, the steps of a long job."""

import io
import os
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

from tfseq.errors import TfseqError
from tfseq.runtime.printable import printable


@contextmanager
def one_line_errors(program: str) -> Iterator[None]:
    """Makes the block a command: a `TfseqError` ends it with one line on stderr and exit code 2.

    Warnings of ours become one line each, too.

    Args:
        program: the name that each line starts with.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a character that the terminal's encoding lacks is no reason to fail
    with warnings.catch_warnings():
        warnings.showwarning = _one_line_warnings(program, warnings.showwarning)
        try:
            yield
            sys.stdout.flush()  # here, where a reader that has gone is no traceback
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for the flush when Python ends
            raise SystemExit(1) from None
        except TfseqError as error:
            print(f"{program}: {printable(' '.join(str(error).split()))}", file=sys.stderr)
            raise SystemExit(2) from None
        except KeyboardInterrupt:
            raise SystemExit(130) from None


def _one_line_warnings(program: str, otherwise: Callable[..., None]) -> Callable[..., None]:
    def show(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
        if category.__module__.startswith("tfseq."):
            print(f"{program}: warning: {printable(str(message))}", file=sys.stderr)
        else:
            otherwise(message, category, *where, **more)

    return show


@contextmanager
def steps() -> Iterator[Callable[[str], None]]:
    """Gives a function that is told each step of a long job; on a terminal they are shown, with their times."""
    if not sys.stderr.isatty():
        yield lambda step: None
        return
    from rich.console import Console  # which Keras needs, too
    from rich.markup import escape

    console = Console(stderr=True, highlight=False)
    current: list[tuple[str, float]] = []

    def done() -> None:
        if current:
            step, start = current.pop()
            console.print(f"  {step}: {time.perf_counter() - start:.1f} s", style="dim", markup=False)

    with console.status("starting") as status:

        def begin(step: str) -> None:
            done()
            current.append((step, time.perf_counter()))
            status.update(escape(step))

        yield begin
        done()


def import_tensorflow_quietly() -> None:
    """Loads TensorFlow without the lines about the CPU that its C++ prints on stderr.

    Raises:
        ModuleNotFoundError: TensorFlow is not installed.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    stderr = os.dup(2)  # some of the lines come before TensorFlow has read its log level
    try:
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        import_module("tensorflow")
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)
