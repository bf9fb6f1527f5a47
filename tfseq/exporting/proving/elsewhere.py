"""`Elsewhere`: a model on another backend, of which the one here is a copy; files are compared with what it answers."""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from typing import Any

import keras
import numpy as np
from keras import ops, tree

from tfseq.exporting.signatures.signature import named_outputs, packed
from tfseq.models.generator import Generator

Arrays = dict[str, np.ndarray]


class RefusedElsewhere(Exception):
    """The model does not take what it was asked about; with its reason."""


class Elsewhere:
    """The model as it is, in the process that asked for the file.

    Args:
        ask: gives its answer, in arrays, to a question and its arguments. Raises `RefusedElsewhere`.
        backend: its backend of Keras.
    """

    def __init__(self, ask: Callable[[str, Any], Any], backend: str):
        self._ask, self.backend = ask, backend

    def call(self, inputs: Any) -> Any:
        """What it makes of its first argument, in the structure that it has."""
        return self._ask("call", [inputs])

    def outputs(self, copy: keras.Model, feeds: Mapping[str, np.ndarray]) -> Arrays:
        """By name, as its copy here names inputs and outputs."""
        return _named(copy, self._ask("call", packed(copy, feeds)), feeds)

    def whole(self, copy: keras.Model, feeds: Mapping[str, np.ndarray]) -> Arrays:
        """The same over a whole sequence of any length, from first states."""
        return _named(copy, self._ask("whole", packed(copy, feeds)), feeds)

    def in_turn(self, copy: keras.Model, chunks: Sequence[Mapping[str, np.ndarray]]) -> list[Arrays]:
        """The outputs of a stateful model for one chunk after the other."""
        answers = self._ask("in_turn", [packed(copy, chunk) for chunk in chunks])
        return [_named(copy, outputs, chunk) for outputs, chunk in zip(answers, chunks)]

    def generate(self, **given: Any) -> dict[str, Any]:
        """As `tfseq.generate`."""
        return self._ask("generate", given)


_CURRENT: ContextVar[Elsewhere | None] = ContextVar("elsewhere", default=None)


def elsewhere() -> Elsewhere | None:
    """The model that files are compared with, if it is not the one here."""
    return _CURRENT.get()


@contextlib.contextmanager
def compared_with(model: Elsewhere) -> Iterator[None]:
    """Within, files are compared with that model."""
    token = _CURRENT.set(model)
    try:
        yield
    finally:
        _CURRENT.reset(token)


def _named(copy: keras.Model, outputs: Any, feeds: Mapping[str, np.ndarray]) -> Arrays:
    if isinstance(copy, Generator):
        return {"logits": outputs}
    tensors = named_outputs(copy, tree.map_structure(ops.convert_to_tensor, outputs), feeds)
    return {name: ops.convert_to_numpy(tensor) for name, tensor in tensors.items()}
