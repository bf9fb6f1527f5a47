"""`Original`: the model as it is, on its own backend, answering what the process with TensorFlow asks of it."""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import keras
from keras import ops, tree

from tfseq.decoding import generate
from tfseq.exporting.conversion.float32_copy import as_float32
from tfseq.exporting.signatures.portable_layers import portable
from tfseq.exporting.streaming.carried_states import CarriedStates, called_in_turn, carrying


class Original:
    """Arrays in, arrays out, in the structures of the model's own arguments and outputs.

    Args:
        model: built. One of lower precision answers in float32, which is what is exported.
    """

    def __init__(self, model: keras.Model):
        self._model = as_float32(model)

    def call(self, arguments: Sequence[Any]) -> Any:
        with _exact_products(), portable(self._model):
            return _arrays(self._model(*_tensors(arguments), training=False))

    def whole(self, arguments: Sequence[Any]) -> Any:
        """Over a whole sequence of any length, from first states."""
        with carrying(self._model, CarriedStates(None)):
            return self.call(arguments)

    def in_turn(self, chunks: Sequence[Sequence[Any]]) -> list[Any]:
        """Of a stateful model, one chunk after the other."""
        with _exact_products():
            return called_in_turn(self._model, chunks)

    def generate(self, given: dict[str, Any]) -> dict[str, Any]:
        """As `tfseq.generate`, of its arguments by name."""
        with _exact_products():
            return _arrays(generate(self._model, **given)._asdict())


def _tensors(arrays: Any) -> Any:
    return tree.map_structure(ops.convert_to_tensor, arrays)


def _arrays(tensors: Any) -> Any:
    return tree.map_structure(lambda x: ops.convert_to_numpy(x) if ops.is_tensor(x) else x, tensors)


@contextlib.contextmanager
def _exact_products() -> Iterator[None]:
    """Within, a GPU multiplies in float32, not in the 19 bits of its tensor cores."""
    match keras.backend.backend():
        case "jax":
            import jax

            with jax.default_matmul_precision("highest"):
                yield
        case "torch":
            import torch

            with torch.no_grad(), torch.backends.cudnn.flags(allow_tf32=False):
                yield
        case _:
            yield
