"""`Original`: the file that is quantized, run beside the quantized one, or before it if it is large."""

import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tfseq.exporting.quantization.evaluation_data import TaskData
from tfseq.exporting.quantization.speedup import Speed, compare_apart, compare_speed, run_times
from tfseq.runtime.model import Model

APART = 2**30  # bytes of weights; files with more are not opened at the same time as what becomes of them


class Original:
    """A file to compare another with; a context, at whose end what it has put on the disk is removed.

    Attributes:
        model: the file, opened; None once it is closed.
        manifest: its manifest.
        bytes: its size, weights beside it included.
    """

    def __init__(self, path: Path):
        self.model: Model | None = Model(path)
        self.manifest = self.model.manifest
        beside = self.manifest.external_data
        self.bytes = path.stat().st_size + (beside.bytes if beside else 0)
        self._scratch: tempfile.TemporaryDirectory[str] | None = None
        self._kept: Iterator[Mapping[str, np.ndarray]] = iter(())
        self._times: list[float] = []

    def __enter__(self) -> "Original":
        return self

    def __exit__(self, *_: Any) -> None:
        if self._scratch:
            self._scratch.cleanup()

    def run_and_close(self, data: TaskData, feeds: Mapping[str, np.ndarray], folder: Path) -> None:
        """Runs it now on all that `run` and `speed` will be asked for, and frees its memory.

        Args:
            data: on whose batches `run` will be asked for its outputs, once, in this order.
            feeds: of `speed`.
            folder: in whose disk there is room for the outputs.
        """
        assert self.model is not None
        self._scratch = tempfile.TemporaryDirectory(prefix=".quantize.", dir=folder)
        files = [Path(self._scratch.name, f"{i}.npz") for i in range(len(data.batches))]
        for file, batch in zip(files, data.batches):
            np.savez(file, **self.model.run(batch.feeds))  # type: ignore[arg-type]
        self._kept = (dict(np.load(file)) for file in files)
        self._times = run_times(lambda: self.model and self.model.run(feeds))
        self.model = None

    def run(self, feeds: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
        """Its outputs by name."""
        return next(self._kept) if self.model is None else self.model.run(feeds)

    def speed(self, feeds: Mapping[str, np.ndarray], other: Callable[[], Any]) -> Speed:
        """Beside that of another file, which `other` runs on the same feeds."""
        if self.model is None:
            return compare_apart(self._times, run_times(other))
        return compare_speed(lambda: self.run(feeds), other)
