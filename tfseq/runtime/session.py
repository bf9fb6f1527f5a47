"""ONNX Runtime behind errors that a user can act on."""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tfseq.errors import ArtefactError, InputError
from tfseq.machine import available_cores
from tfseq.runtime.devices import CPU, Provider, check_in_use, names_of, providers_of
from tfseq.runtime.external_data import check_locations, said_of_external_data
from tfseq.runtime.onnx_metadata import DAMAGED, require_file
from tfseq.runtime.printable import shown


class Session:
    """An ONNX graph, opened on a device.

    Args:
        path: an ONNX file.
        threads: to compute with; None takes all cores that this process may use, as a container's quota counts them.
        device: its name, or execution providers; see `tfseq.runtime.load`.
        session_options: an `onnxruntime.SessionOptions`, which is left as it was; what it does not set is set here.
        suitable: threads to take where neither says how many; None takes all cores.

    Attributes:
        metadata: the file's `metadata_props`.
        inputs, outputs: the graph's own, in its order; an axis of any size is None.
        input_names, output_names: their names.
        providers: names of the execution providers that compute, the preferred one first.

    Raises:
        ArtefactError: the file is missing, is no ONNX file, is damaged, or needs a newer ONNX Runtime.
        InputError: `threads` is no whole number of at least 1; there is no such device, or it can't run this graph;
            `session_options` are something else, or contradict `threads` or `device`.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        threads: int | None = None,
        device: str | Sequence[Provider] = "cpu",
        session_options: Any = None,
        suitable: int | None = None,
    ):
        import onnxruntime  # here, so that reading manifests and tokenizers does without it

        if threads is not None and (type(threads) is not int or not 1 <= threads <= most_threads()):
            raise InputError(f"threads is {shown(threads)}; expected a whole number, 1 to {most_threads()}, or None.")
        path = Path(path)
        require_file(path)
        options = onnxruntime.SessionOptions() if session_options is None else session_options
        if not isinstance(options, onnxruntime.SessionOptions):
            raise InputError(f"session_options is {shown(options)}; expected an onnxruntime.SessionOptions.")
        providers = _providers(device, options, onnxruntime)
        if tuple(int(number) for number in onnxruntime.__version__.split(".")[:2]) < (1, 24):
            check_locations(path)
        with _completed(options, threads, suitable):
            try:
                # Without its fallback, which prints what is wrong, and goes on with the CPU.
                self._session = onnxruntime.InferenceSession(path, options, providers=providers, enable_fallback=0)
            except Exception as error:
                raise _unreadable(path, error, onnxruntime.__version__, providers) from None
        self.providers = tuple(self._session.get_providers())
        check_in_use(providers or (), self.providers)
        try:
            self.metadata: dict[str, str] = self._session.get_modelmeta().custom_metadata_map
            self.inputs = tuple(map(_described, self._session.get_inputs()))
            self.outputs = tuple(map(_described, self._session.get_outputs()))
        except UnicodeDecodeError:
            raise ArtefactError(DAMAGED.format(path)) from None
        self.input_names = tuple(spec.name for spec in self.inputs)
        self.output_names = tuple(spec.name for spec in self.outputs)

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


@dataclass(frozen=True)
class GraphTensor:
    """An input or output as the graph itself describes it.

    Attributes:
        dtype: as ONNX Runtime writes it, such as "tensor(float)".
        shape: None for an axis of any size; () where it is a scalar, or the graph does not say.
    """

    name: str
    dtype: str
    shape: tuple[int | None, ...]


def _described(node: Any) -> GraphTensor:
    shape = tuple(size if isinstance(size, int) else None for size in node.shape)
    return GraphTensor(node.name, node.type, shape)


def most_threads() -> int:
    """As many threads as may be asked for: ONNX Runtime starts them all, and they wait for each other by turning."""
    return max(64, 4 * (os.cpu_count() or 1))


def thread_count(threads: int | None) -> int:
    """As ONNX Runtime takes it: 0 for one thread per physical core, which it finds out itself.

    It counts the host's cores; where a quota or an affinity mask leaves this process fewer, they are named. Without
    one: 1, 4, 8 or 16 threads on as many cores.
    """
    if threads is not None:
        return threads
    cores = available_cores()
    return cores if cores < (os.cpu_count() or 1) else 0


def _providers(device: str | Sequence[Provider], options: Any, onnxruntime: Any) -> list[Provider] | None:
    """None where the session options name devices themselves."""
    if not (hasattr(options, "has_providers") and options.has_providers()):  # since ONNX Runtime 1.23
        return providers_of(device, onnxruntime)
    if device != "cpu":
        raise InputError(f"device is {device!r}, and session_options name devices, too; expected one of the two.")
    return None


@contextmanager
def _completed(options: Any, threads: int | None, suitable: int | None) -> Iterator[None]:
    """Options of ours where the user has set none, while a session is made, which keeps a copy.

    Raises:
        InputError: the user has set two numbers of threads.
    """
    level, count = options.log_severity_level, options.intra_op_num_threads
    if threads is not None and count not in (0, threads):
        raise InputError(f"threads is {threads}, and session_options.intra_op_num_threads {count}; give one of them.")
    try:
        if level == -1:
            options.log_severity_level = 4  # what goes wrong is raised; the log would repeat it on stderr
        if count == 0:
            options.intra_op_num_threads = thread_count(threads or suitable)
        yield
    finally:
        options.log_severity_level, options.intra_op_num_threads = level, count


def _unreadable(path: Path, error: Exception, version: str, providers: Sequence[Provider] | None) -> Exception:
    lines, reason = str(error).strip().splitlines(), _reason(error)
    if "Protobuf parsing failed" in reason or "No graph was found" in reason:
        return ArtefactError(DAMAGED.format(path))
    if problem := said_of_external_data(str(error)):
        return ArtefactError(f"{path} can't be used: {problem}")
    others = [name for name in names_of(providers or ()) if name != CPU]
    if others:
        reason = reason if len(lines) < 2 else lines[-1].rstrip(".") + "."  # the first says where in the code
        return InputError(
            f"ONNX Runtime {version} can't run {path} with {', '.join(others)}: {reason} "
            'Take device="cpu"; if that fails, too, the file is damaged, or made for a newer ONNX Runtime.'
        )
    return ArtefactError(
        f"ONNX Runtime {version} can't run {path}: {reason} The file is damaged, or made for a newer ONNX Runtime."
    )


def _reason(error: Exception) -> str:
    """The last part of "[ONNXRuntimeError] : 7 : INVALID_PROTOBUF : ...", on one line."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0].split(" : ", 3)[-1].rstrip(".") + "."
