"""Why a contestant could not run, in a few words: from its exception, or from its process' exit code and stderr."""

import re
import signal
import textwrap
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from tfseq.errors import TfseqError

LONGEST = 120  # characters of a reason, which stands in a cell of a table
OURS = ("benchmarks", "pipelines", "tfseq")
PACKAGES = {"sklearn": "scikit-learn", "tensorflow": "tensorflow-cpu"}  # where pip has another name than `import`

Result = TypeVar("Result")


@dataclass(frozen=True)
class Failure:
    """What stands in the place of a measurement that there is none of."""

    reason: str


def attempt(run: Callable[[], Result]) -> Result | Failure:
    """What a contestant in this process returns, or why it raised, which stderr has in full."""
    try:
        return run()
    except Exception as error:
        if not isinstance(error, ImportError | TfseqError):  # whose messages say all there is
            traceback.print_exc()
        return Failure(in_few_words(f"{type(error).__name__}: {error}"))


def failure_of_process(code: int, stderr: Sequence[str]) -> Failure:
    """Of a process that has ended with an exit code other than 0.

    Args:
        code: as `subprocess` has it; that of a process that a signal ended is negative.
        stderr: its last lines. The reason is the last of them, or the first line of a traceback's message.
    """
    if code < 0:
        return Failure(f"ended by {signal.Signals(-code).name}")
    lines = [line for line in stderr if line.strip()]
    if not lines:
        return Failure(f"exit code {code}")
    tracebacks = [i for i, line in enumerate(lines) if line.startswith("Traceback (most recent call last)")]
    after = lines[tracebacks[-1] + 1 :] if tracebacks else []
    return Failure(in_few_words(next((line for line in after if not line.startswith(" ")), lines[-1])))


def in_few_words(message: str) -> str:
    """One line that fits into a cell of a table; what to install, if a package is missing."""
    missing = re.search(r"No module named '(\w+)", message)
    if missing and missing[1] not in OURS:
        return f"not installed: pip install {PACKAGES.get(missing[1], missing[1])}"
    return textwrap.shorten(message.replace("|", "/"), LONGEST, placeholder=" …").removesuffix(".")
