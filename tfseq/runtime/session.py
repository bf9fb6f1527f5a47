"""ONNX Runtime behind errors that a user can act on."""

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from tfseq.errors import ArtefactError, InputError
from tfseq.machine import available_cores


class Session:
    """An ONNX graph, opened on the CPU.

    Args:
        path: an ONNX file.
        threads: to compute with; None takes all cores that this process may use, as a container's quota counts them.

    Attributes:
        metadata: the file's `metadata_props`.
        input_names, output_names: in the graph's order.

    Raises:
        ArtefactError: the file is missing, is no ONNX file, is damaged, or needs a newer ONNX Runtime.
        InputError: `threads` is no whole number of at least 1.
    """

    def __init__(self, path: str | os.PathLike[str], threads: int | None = None):
        import onnxruntime  # here, so that reading manifests and tokenizers does without it

        if threads is not None and (type(threads) is not int or threads < 1):
            raise InputError(f"threads is {threads!r}; expected a whole number of at least 1, or None.")
        path = Path(path)
        _require_file(path)
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4  # what goes wrong is raised; the log would repeat it on stderr
        options.intra_op_num_threads = thread_count(threads)
        try:
            self._session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        except Exception as error:
            raise _unreadable(path, error, onnxruntime.__version__) from None
        self.metadata: dict[str, str] = self._session.get_modelmeta().custom_metadata_map
        self.input_names = tuple(node.name for node in self._session.get_inputs())
        self.output_names = tuple(node.name for node in self._session.get_outputs())

    def run(self, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Runs the graph: arrays by input name in, arrays by output name out.

        Raises:
            InputError: the graph can't run on these arrays.
        """
        try:
            outputs = self._session.run(None, dict(feeds))
        except Exception as error:
            given = ", ".join(f"{name} {array.dtype} {array.shape}" for name, array in feeds.items())
            raise InputError(f"The graph can't run on {given}. ONNX Runtime says: {_reason(error)}") from None
        return dict(zip(self.output_names, outputs, strict=True))


def thread_count(threads: int | None) -> int:
    """As ONNX Runtime takes it: 0 for one thread per physical core, which it finds out itself.

    It counts the host's cores; where a quota or an affinity mask leaves this process fewer, they are named. Without
    one: 1, 4, 8 or 16 threads on as many cores.
    """
    if threads is not None:
        return threads
    cores = available_cores()
    return cores if cores < (os.cpu_count() or 1) else 0


def _require_file(path: Path) -> None:
    if path.is_dir():
        raise ArtefactError(f"{path} is a folder; expected an .onnx file.")
    try:
        with path.open("rb"):
            pass
    except OSError as error:
        raise ArtefactError(f"Can't read {path}: {error.strerror or error}.") from None


def _unreadable(path: Path, error: Exception, version: str) -> ArtefactError:
    reason = _reason(error)
    if "Protobuf parsing failed" in reason or "No graph was found" in reason:
        return ArtefactError(f"{path} is not an ONNX file, or it is damaged or truncated. Export or copy it again.")
    return ArtefactError(
        f"ONNX Runtime {version} can't run {path}: {reason} The file is damaged, or made for a newer ONNX Runtime."
    )


def _reason(error: Exception) -> str:
    """The last part of "[ONNXRuntimeError] : 7 : INVALID_PROTOBUF : ...", on one line."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0].split(" : ", 3)[-1].rstrip(".") + "."
