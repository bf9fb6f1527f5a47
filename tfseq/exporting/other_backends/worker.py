"""The process with TensorFlow: it loads the copy of a model, exports or verifies it, and asks the model for parity."""

import os
import signal
import sys
import traceback
from pathlib import Path
from typing import Any

from tfseq.errors import ExportError, ParityError, TfseqError
from tfseq.exporting.other_backends.channel import Channel
from tfseq.exporting.other_backends.transfer import SavedModel, load
from tfseq.exporting.proving.elsewhere import Elsewhere, RefusedElsewhere, compared_with
from tfseq.exporting.proving.parity import compare, opened
from tfseq.exporting.verified_file import write_verified
from tfseq.reasons import first_line


def main() -> None:
    """Does the one task that it is told on stdin, and answers on stdout."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the process that asked says when to stop
    outward = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what anything prints is no message
    channel = Channel(sys.stdin.buffer, outward)
    _, task = channel.receive()
    try:
        channel.send("done", _done(channel, *task))
    except TfseqError as error:
        channel.send("failed", (type(error)(*error.args), None))
    except Exception as error:
        channel.send("failed", (ExportError(first_line(error)), traceback.format_exc()))


def _done(channel: Channel, task: str, backend: str, saved: SavedModel, path: Path, arguments: dict[str, Any]) -> Any:
    def ask(what: str, content: Any) -> Any:
        channel.send(what, content)
        kind, answer = channel.receive()
        if kind == "refused":
            raise RefusedElsewhere(answer)
        return answer

    model = load(saved)
    with compared_with(Elsewhere(ask, backend)):
        try:
            if task == "verify":
                return compare(opened(path), model, **arguments)
            return write_verified(model, path, progress=lambda step: ask("progress", step), **arguments)
        except TfseqError as error:
            if saved.untraceable and error.__cause__ is not None and not isinstance(error, ParityError):
                raise ExportError(saved.explained(error, "The model can't be exported")) from error
            raise
        except Exception as error:
            raise ExportError(saved.explained(error, "The model can't be exported")) from error
