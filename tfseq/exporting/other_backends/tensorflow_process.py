"""`on_tensorflow`: a process of its own with TensorFlow, told what to do with a model; its questions are answered."""

import contextlib
import os
import pickle
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO, cast

import keras

from tfseq.errors import ExportError
from tfseq.exporting.other_backends.channel import Channel
from tfseq.exporting.other_backends.original import Original
from tfseq.exporting.other_backends.transfer import save
from tfseq.exporting.signatures.call_arguments import CallForm, call_form
from tfseq.models.generator import Generator
from tfseq.reasons import first_line

_WAIT = 30  # seconds for a process that was told to end
# Finds modules where this process finds them; then the rest is the worker's.
_BEGIN = """
import pickle, sys
sys.path[:] = pickle.load(sys.stdin.buffer)
from tfseq.exporting.other_backends.worker import main
main()
"""


def on_tensorflow(
    task: str,
    model: keras.Model,
    path: Path,
    arguments: Mapping[str, Any],
    progress: Callable[[str], None] | None = None,
) -> Any:
    """What a process with TensorFlow makes of a copy of the model; it compares with the model here.

    Args:
        task: "export" or "verify".
        model: built, or with `samples` among the arguments.
        path: of the file.
        arguments: of the task, by name.
        progress: is told each step.

    Raises:
        TfseqError: as the task raises it.
        ExportError: the model can't be copied, or the process ends early.
    """
    form = _form(model, arguments["samples"], needed=task == "export")
    with tempfile.TemporaryDirectory(prefix="tfseq-") as folder, open(Path(folder) / "errors", "w+b") as errors:
        process = _started(errors)
        channel = Channel(cast(BinaryIO, process.stdout), cast(BinaryIO, process.stdin))
        try:
            saved = save(model, Path(folder) / "model", form)
            original = Original(model)
            channel.send("task", (task, keras.backend.backend(), saved, path, dict(arguments)))
            return _served(channel, original, progress or (lambda _: None))
        except (EOFError, BrokenPipeError) as error:
            code = process.wait()
            errors.seek(0)
            last = errors.read().decode("utf-8", "replace").strip().splitlines()[-1:]
            raise ExportError(
                f"The process that exports on TensorFlow ended early, with exit code {code}"
                f"{'; it may have run out of memory' if code < 0 else ''}. {''.join(last)}".strip()
            ) from error
        finally:
            _end(process)


def _form(model: keras.Model, samples: Any, needed: bool) -> CallForm | None:
    """How a model is called that was only called, and does not declare its inputs; it is called here if need be."""
    if isinstance(model, Generator):
        if not model.built:
            raise ExportError(f"{type(model).__name__} has no weights yet; build it or call it on some data.")
        return None
    try:
        form = call_form(model, samples)
    except ExportError:
        if needed or samples or not model.built:
            raise
        return None
    return None if form.called_with is None else form


def _started(errors: BinaryIO) -> subprocess.Popen[bytes]:
    environment = {
        "KERAS_BACKEND": "tensorflow",
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "CUDA_VISIBLE_DEVICES": "-1",  # tracing needs no GPU, whose memory the model has
    }
    process = subprocess.Popen(
        [sys.executable, "-c", _BEGIN],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=errors,
        env=os.environ | environment,
    )
    stdin = cast(BinaryIO, process.stdin)
    stdin.write(pickle.dumps(sys.path))
    stdin.flush()
    return process


def _served(channel: Channel, original: Original, progress: Callable[[str], None]) -> Any:
    """Answers the process until it is done."""
    while True:
        kind, content = channel.receive()
        match kind:
            case "done":
                return content
            case "failed":
                error, trace = content
                raise error from (RuntimeError(trace) if trace else None)
            case "progress":
                progress(content)
                channel.send("seen")
            case _:
                try:
                    answer = getattr(original, kind)(content)
                except Exception as error:
                    channel.send("refused", first_line(error))
                else:
                    channel.send("answer", answer)


def _end(process: subprocess.Popen[bytes]) -> None:
    """It cleans up behind itself, unless that takes too long."""
    if process.poll() is None:
        process.terminate()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with contextlib.suppress(OSError):
                pipe.close()
    try:
        process.wait(_WAIT)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
