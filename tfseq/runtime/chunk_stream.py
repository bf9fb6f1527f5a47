"""`Stream`: stateful inference on a sequence chunk by chunk, its states kept in between."""

import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from tfseq.errors import InputError
from tfseq.runtime.input_binding import bind
from tfseq.runtime.manifest import Manifest, StateSpec, TensorSpec


class Stream:
    """Made by `Model.stream`: it keeps the states of the sequences read so far, and predicts on the next chunk.

    Attributes:
        states: by input name, (batch, ...) each; empty before the first chunk. Copy them to branch off, assign them to
            go back.

    Example:
        >>> stream = tfseq.runtime.load("model.onnx").stream()
        >>> for chunk in np.split(readings, 10, axis=1):
        ...     outputs = stream.predict(chunk)
    """

    def __init__(self, manifest: Manifest, run: Callable[[Mapping[str, np.ndarray]], dict[str, np.ndarray]]):
        self._manifest, self._run, self._lock = manifest, run, threading.Lock()
        self.states: dict[str, np.ndarray] = {}

    def predict(self, *arrays: Any, **named: Any) -> np.ndarray | dict[str, np.ndarray]:
        """The next chunk, of any number of steps.

        Args:
            arrays, named: one per input of the model but its states, by position or by name.

        Returns:
            The output for these steps, or a dictionary of outputs by name where the model has several.

        Raises:
            InputError: a name, type, rank or size does not fit; there are more or fewer rows than before.
        """
        feeds = bind(self._manifest.data_inputs, arrays, named)
        with self._lock:  # a chunk is read behind the one before it
            return self._predicted(feeds)

    def _predicted(self, feeds: dict[str, np.ndarray]) -> np.ndarray | dict[str, np.ndarray]:
        rows = next(iter(feeds.values())).shape[0]
        if not self.states:
            states = first_states(self._manifest.states, self._manifest.inputs, rows)
        else:
            states = self._given_states()
            known = next(iter(states.values())).shape[0]
            if rows != known:
                raise InputError(f"The chunk has {rows} rows, and the stream {known}; call reset() to begin anew.")
        outputs = self._run({**feeds, **states})
        self.states = {state.input: outputs.pop(state.output) for state in self._manifest.states}
        return next(iter(outputs.values())) if len(outputs) == 1 else outputs

    def _given_states(self) -> dict[str, np.ndarray]:
        wanted = {state.input for state in self._manifest.states}
        states = self.states
        if not isinstance(states, Mapping) or set(states) != wanted:
            raise InputError(f"The stream's states are not those of {', '.join(sorted(wanted))}; call reset().")
        arrays = {name: np.asarray(state) for name, state in states.items()}
        if not all(array.ndim for array in arrays.values()):
            raise InputError("A state of the stream has no rows; call reset() to begin anew.")
        return arrays

    def reset(self) -> None:
        """Forgets what was read: the next chunk begins a sequence."""
        self.states = {}


def first_states(states: Iterable[StateSpec], inputs: Iterable[TensorSpec], batch: int) -> dict[str, np.ndarray]:
    """The states before the first chunk of `batch` rows, by input name; axes that are free have size 0."""
    specs = {spec.name: spec for spec in inputs}

    def rows(state: StateSpec) -> np.ndarray:
        spec = specs[state.input]
        shape = [{"batch": batch}.get(size, 0) if isinstance(size, str) else size for size in spec.shape]
        return np.full(shape, np.asarray(state.initial, spec.dtype), spec.dtype)

    return {state.input: rows(state) for state in states}
